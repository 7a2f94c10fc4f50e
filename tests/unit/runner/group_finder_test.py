"""Where control groups may be made: read from what /proc says, and never in a folder that was not handed over."""

import os
from pathlib import Path

import pytest

from runner.sandbox.linux.group_finder import Place, find_hierarchies, places

_V1_MOUNTS = """\
30 25 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory
32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
33 30 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
34 30 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
"""
_V1_OWN = "4:memory:/a/b\n3:cpu,cpuacct:/\n1:name=systemd:/\n0::/x\n"


def test_version_1_has_a_folder_for_each_tree_and_comes_first() -> None:
    found = places(_V1_MOUNTS, _V1_OWN)
    assert [(place.version, str(place.folder), sorted(place.controllers)) for place in found] == [
        (1, "/sys/fs/cgroup/cpu,cpuacct", ["cpu"]),
        (1, "/sys/fs/cgroup/memory/a/b", ["memory"]),
        (1, "/sys/fs/cgroup/systemd", []),
        (2, "/sys/fs/cgroup/unified/x", []),
    ]


@pytest.mark.parametrize(
    ("root", "own", "folder", "at_root"),
    [
        ("/", "/user.slice/app.scope", "/c/user.slice/app.scope", False),
        ("/", "/", "/c", True),
        ("/docker/abc", "/docker/abc/x", "/c/x", False),
        ("/docker/abc", "/docker/abc", "/c", True),
        ("/docker/abc", "/", "/c", True),
    ],
)
def test_version_2_is_seen_from_where_it_is_mounted(root: str, own: str, folder: str, at_root: bool) -> None:
    assert places(f"9 1 0:1 {root} /c rw - cgroup2 cgroup2 rw\n", f"0::{own}\n") == (
        Place(2, Path(folder), frozenset(), at_root),
    )


@pytest.mark.parametrize("own", ["0::/../../other", "0::/elsewhere", ""])
def test_what_cannot_be_seen_is_left_alone(own: str) -> None:
    assert places("9 1 0:1 /docker/abc /c rw - cgroup2 cgroup2 rw\n", own) == ()


def version_2(folder: Path, *, delegated: bool) -> tuple[str, str]:
    """A folder as the kernel shows it, with one process, and the two texts that lead there."""
    own = folder / "service"
    own.mkdir()
    (own / "cgroup.type").write_text("domain\n")
    (own / "cgroup.controllers").write_text("cpu io memory pids\n")
    (own / "cgroup.subtree_control").write_text("")
    (own / "cgroup.procs").write_text("17\n")
    if delegated:
        os.setxattr(own, "user.delegate", b"1")
    return f"9 1 0:1 / {folder} rw - cgroup2 cgroup2 rw\n", "0::/service\n"


def test_folder_that_was_not_handed_over_is_not_touched(tmp_path: Path) -> None:
    assert find_hierarchies(*version_2(tmp_path, delegated=False)) == ()
    assert (tmp_path / "service/cgroup.subtree_control").read_text() == ""
    assert [path.name for path in (tmp_path / "service").iterdir() if path.is_dir()] == []


def test_processes_of_a_folder_that_was_handed_over_move_aside_first(tmp_path: Path) -> None:
    """The kernel takes controllers only then; here it never empties, so nothing is switched on."""
    try:
        texts = version_2(tmp_path, delegated=True)
    except OSError:
        pytest.skip("this file system has no user attributes")
    assert find_hierarchies(*texts) == ()
    assert (tmp_path / "service/gogrid-runner/cgroup.procs").read_text() == "17"
    assert (tmp_path / "service/cgroup.subtree_control").read_text() == ""
