"""Threats 1, 2 and 9: a script reads, changes or leaves behind what is not its own."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from sandbox_profiles import linux
from tests.attack.jobs import Jobs

pytestmark = pytest.mark.sandbox


async def test_script_cannot_read_host_files(jobs: Jobs, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("owner's secret")
    seen = await jobs.run(
        """
        import json, os, sys
        def readable(path):
            try:
                with open(path, "rb") as file: file.read(1)
                return True
            except OSError:
                return os.path.exists(path)
        print(json.dumps([path for path in sys.argv[1:] if readable(path)]))
        """,
        arguments=(
            str(secret),
            "/etc/shadow",
            "/etc/passwd",
            str(Path.home()),
            "/root",
            "/home",
            "/var",
            "/proc/kcore",
        ),
    )
    assert json.loads(seen.stdout) in ([], ["/proc/kcore"])
    core = await jobs.run("open('/proc/kcore', 'rb').read(1)")
    assert "PermissionError" in core.stderr or "FileNotFoundError" in core.stderr


async def test_script_sees_only_the_listed_root_entries(jobs: Jobs) -> None:
    seen = await jobs.run(
        "import json, os; print(json.dumps([os.listdir(p) for p in ('/', '/opt/gogrid', '/etc', '/job/in')]))"
    )
    root, ours, etc, inputs = (set(names) for names in json.loads(seen.stdout))
    assert root <= linux.ROOT_ENTRIES
    assert {name for name in ours if not name.startswith("site")} <= {"python", "src"}
    assert etc <= {"ld.so.cache", "alternatives"}
    assert inputs == {"main.py"}


async def test_script_cannot_see_host_mounts_by_path(jobs: Jobs) -> None:
    """What the kernel tells of a mount's source is no way back, but must not be more than the listed mounts."""
    seen = await jobs.run("print(open('/proc/self/mountinfo').read())")
    points = {line.split()[4] for line in seen.stdout.splitlines() if line}
    allowed = ("/opt/gogrid/", "/usr", "/dev", "/proc", "/tmp", "/job/", "/etc/", "/sys/devices/system/cpu")
    assert {point for point in points if point != "/" and not point.startswith(allowed)} == set()


async def test_script_finds_nothing_writable_but_its_own_folders(jobs: Jobs) -> None:
    seen = await jobs.run(
        """
        import json, os
        found = []
        for folder, folders, _ in os.walk("/", onerror=lambda error: None):
            if folder.startswith(("/proc", "/sys/", "/usr/", "/opt/gogrid/site/", "/opt/gogrid/python/")):
                folders.clear()
            try:
                with open(os.path.join(folder, "probe"), "w"): found.append(folder)
                os.unlink(os.path.join(folder, "probe"))
            except OSError:
                pass
        print(json.dumps(found))
        """
    )
    assert set(json.loads(seen.stdout)) == {"/tmp", "/dev/shm", "/job/out"}


@pytest.mark.parametrize("path", ["/usr/lib", "/opt/gogrid/site", "/opt/gogrid/src/runner", "/job/in", "/"])
async def test_every_mount_of_the_system_is_read_only(jobs: Jobs, path: str) -> None:
    """Read from the mount itself, so that Landlock's refusal does not hide a writable one."""
    seen = await jobs.run(f"import os; print(bool(os.statvfs({path!r}).f_flag & os.ST_RDONLY))")
    if path == "/job/in":
        seen = await jobs.run("import os; print(bool(os.statvfs('/job/in/main.py').f_flag & os.ST_RDONLY))")
    assert seen.stdout == "True\n"


async def test_script_cannot_change_its_inputs_or_the_packages(jobs: Jobs, tmp_path: Path) -> None:
    before = _digest(Path(linux.__file__).parent)
    seen = await jobs.run(
        """
        import os, sys
        for path in ("/job/in/data.txt", "/job/in/main.py", "/opt/gogrid/src/runner/__init__.py", "/usr/bin/env"):
            for attack in (lambda: open(path, "a"), lambda: os.chmod(path, 0o777), lambda: os.unlink(path)):
                try: attack(); print("changed", path)
                except OSError: pass
        """,
        inputs={"data.txt": b"given"},
    )
    assert seen.stdout == ""
    assert (tmp_path / "input-1").read_bytes() == b"given"
    assert _digest(Path(linux.__file__).parent) == before


async def test_script_cannot_change_kernel_settings(jobs: Jobs) -> None:
    """Matters most where root runs the worker: the kernel lets root's user id write these, without a capability."""
    seen = await jobs.run(
        """
        for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sysrq-trigger",
                     "/proc/sys/vm/overcommit_memory", "/proc/irq/default_smp_affinity",
                     "/sys/devices/system/cpu/cpu1/online"):
            try:
                with open(path, "r+b", buffering=0): print("opened", path)
            except OSError: pass
        """
    )
    assert seen.stdout == ""


async def test_script_leaves_nothing_for_the_next_one(jobs: Jobs) -> None:
    await jobs.run("for p in ('/tmp/c', '/dev/shm/c', '/job/out/c'): open(p, 'w').write('canary')")
    seen = await jobs.run("import os; print([os.listdir(p) for p in ('/tmp', '/dev/shm', '/job/out')])")
    assert seen.stdout == "[[], [], ['main.py']]\n", "only the link to the job's own input may be there"


async def test_environment_has_only_the_listed_names(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOGRID_SECRET", "in the runner's environment")
    seen = await jobs.run("import json, os; print(json.dumps(dict(os.environ)))")
    environment = json.loads(seen.stdout)
    assert environment.keys() <= linux.ENVIRONMENT_NAMES
    assert str(os.getcwd()) not in environment.values()


def _digest(folder: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        total.update(path.read_bytes())
    return total.hexdigest()
