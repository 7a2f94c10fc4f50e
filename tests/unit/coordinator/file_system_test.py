"""Which mounts count as another machine's."""

from pathlib import Path, PurePosixPath

import pytest

from coordinator.errors import StateError
from coordinator.state import file_system
from coordinator.state.file_system import kind_of_mount, parse_mount, parse_mountinfo, remote_kind
from coordinator.state.folder import StateFolder

_MOUNTINFO = r"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:5 / /dev rw - devtmpfs udev rw
41 22 0:40 / /srv/share rw,relatime shared:9 - nfs4 nas:/export rw,vers=4.2
42 22 0:41 / /srv/share/local rw - xfs /dev/vdb1 rw
43 22 0:42 / /mnt/my\040files rw - cifs //nas/files rw
44 22 0:43 / /mnt/ssh rw master:3 propagate_from:2 - fuse.sshfs me@host: rw
45 22 0:44 / /mnt/ntfs rw - fuseblk /dev/sdb1 rw
46 22 0:45 / /over rw - ext4 /dev/vdc rw
47 22 0:46 / /over rw - smb3 //nas/over rw
48 22 0:47 / /mnt/nfsdata rw - btrfs /dev/vdd rw
"""
_MOUNT = """/dev/disk3s1s1 on / (apfs, sealed, local, read-only, journaled)
//me@nas/files on /Volumes/My Files (smbfs, nodev, nosuid, mounted by me)
nas:/export on /private/nfs (nfs)
"""


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("/var/lib/gogrid", "ext4"),
        ("/srv/share", "nfs4"),
        ("/srv/share/x/y", "nfs4"),
        ("/srv/share/local/x", "xfs"),
        ("/srv/sharex", "ext4"),
        ("/mnt/my files/x", "cifs"),
        ("/mnt/ssh/x", "fuse.sshfs"),
        ("/mnt/ntfs/x", "fuseblk"),
        ("/over/x", "smb3"),
        ("/mnt/nfsdata/x", "btrfs"),
    ],
)
def test_the_mount_that_holds_a_place_is_found(place: str, kind: str) -> None:
    assert kind_of_mount(PurePosixPath(place), parse_mountinfo(_MOUNTINFO)) == kind


def test_what_macos_says_is_understood() -> None:
    mounts = parse_mount(_MOUNT)
    places = ("/Library/x", "/Volumes/My Files/x", "/private/nfs/x")
    assert [kind_of_mount(PurePosixPath(place), mounts) for place in places] == ["apfs", "smbfs", "nfs"]


_REMOTE = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "fuse.glusterfs", "ceph", "afpfs")
_OWN = ("ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "apfs", "fuseblk", "fuse.mergerfs", "nfsd", "")


@pytest.mark.parametrize(("kind", "remote"), [*((kind, True) for kind in _REMOTE), *((kind, False) for kind in _OWN)])
def test_a_network_file_system_is_told_from_a_disk(
    kind: str, remote: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_system, "_linux_mounts", lambda: [("/", kind)])
    monkeypatch.setattr(file_system.sys, "platform", "linux")
    assert remote_kind(tmp_path) == (kind if remote else "")


def test_a_state_folder_on_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = StateFolder(tmp_path / "made")
    made.begin()
    made.identity_key.touch(0o600)
    made.database.touch(0o600)
    made.finish()
    made.require()
    monkeypatch.setattr(file_system, "_linux_mounts", lambda: [(str(tmp_path), "nfs4")])
    monkeypatch.setattr(file_system.sys, "platform", "linux")
    with pytest.raises(StateError, match=r"network file system \(nfs4\).*--data"):
        made.require()
    with pytest.raises(StateError, match="network file system"):
        StateFolder(tmp_path / "new").begin()


def test_this_machines_own_disk_is_local(tmp_path: Path) -> None:
    assert remote_kind(tmp_path) == ""
