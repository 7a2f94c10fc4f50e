"""Threat 12: what a script leaves in its working folder attacks whoever collects it."""

import pytest

from gogrid.protocol.tasks import PythonLimits
from runner.python_job.names import check_name
from tests.attack.jobs import Jobs

pytestmark = pytest.mark.sandbox


async def test_only_regular_files_come_out(jobs: Jobs) -> None:
    seen = await jobs.run(
        """
        import os, socket
        open("good", "w").write("good")
        os.makedirs("folder/deeper"); open("folder/deeper/file", "w").write("also")
        os.symlink("/opt/gogrid/src/runner/__init__.py", "link")
        os.symlink("/usr", "link-to-folder"); os.symlink("loop", "loop"); os.symlink("..", "folder/up")
        os.symlink("/proc/1/environ", "environ"); os.symlink("good", "link-to-good")
        os.mkfifo("pipe")
        socket.socket(socket.AF_UNIX).bind("socket")
        os.link("good", "hard-link")
        open("closed", "w").write("x"); os.chmod("closed", 0)
        os.mkdir("shut"); open("shut/x", "w").write("x"); os.chmod("shut", 0)
        """
    )
    wanted = {"good": b"good", "hard-link": b"good", "folder/deeper/file": b"also"}
    if "closed" in seen.files:  # the worker runs as root, whom file modes do not bind
        wanted |= {"closed": b"x"}
    assert {name: data for name, data in seen.files.items() if name != "shut/x"} == wanted
    assert seen.done.ended == "ok"
    assert "not kept" in seen.done.detail


async def test_evil_names_come_out_plain_and_distinct(jobs: Jobs) -> None:
    seen = await jobs.run(
        r"""
        import os
        names = [b"new\nline", b"\x1b[31mred", b"back\\slash", b"colon:", b"..hidden..", b" ", b"CON", b"nul.txt",
                 b"\xff\xfe", "\u202etxt.exe".encode(), b"A", b"a", "\u00e9".encode(), "e\u0301".encode(), b"n" * 255,
                 b"-rf", b"~", b"$(x)"]
        for name in names: open(name, "wb").write(name)
        """
    )
    assert len(seen.files) == 18
    assert {name: check_name(name) for name in seen.files if check_name(name)} == {}
    assert len({name.casefold() for name in seen.files}) == 18
    assert b"\x1b[31mred" in seen.files.values()
    assert seen.done.detail.startswith("Names that not every system can store were changed: ")
    assert "' ' is '_'" in seen.done.detail
    assert seen.done.detail.isprintable()
    assert "more." in seen.done.detail


async def test_too_many_files_keeps_none(jobs: Jobs) -> None:
    seen = await jobs.run("for n in range(51): open(str(n), 'w')", limits=PythonLimits(wall_s=20, output_files=50))
    assert (seen.done.ended, seen.files) == ("output_too_large", {})
    assert "50 files" in seen.done.detail


async def test_too_many_bytes_keeps_none(jobs: Jobs) -> None:
    """Sparse files are larger than what they take of the folder."""
    seen = await jobs.run(
        "import os\nfor n in range(3): os.truncate(os.open(str(n), os.O_CREAT | os.O_RDWR), 900_000)",
        limits=PythonLimits(wall_s=20, output_bytes=1 << 20),
    )
    assert (seen.done.ended, seen.files, seen.done.files) == ("output_too_large", {}, ())


async def test_tree_of_folders_without_end_is_bounded(jobs: Jobs) -> None:
    deep = await jobs.run(
        """
        import os
        for _ in range(900): os.mkdir("d"); os.chdir("d")
        open("bottom", "w").write("x")
        """
    )
    assert (deep.done.ended, deep.files) == ("ok", {})
    wide = await jobs.run("import os\nfor n in range(3000): os.mkdir(str(n))")
    assert wide.done.ended == "output_too_large"


async def test_output_of_the_full_size_comes_out_whole(jobs: Jobs) -> None:
    seen = await jobs.run("open('big', 'wb').write(bytes(range(256)) * 4096 * 8)")
    assert seen.files == {"big": bytes(range(256)) * 4096 * 8}
    assert seen.done.files[0].size == 8 << 20
