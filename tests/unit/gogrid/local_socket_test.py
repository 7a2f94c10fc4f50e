"""The local socket: private, tolerant of nonsense, deaf to other users, and never waited for without end."""

import asyncio
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gogrid.local_socket import LocalSocketError, NoAnswerError, NobodyListensError, ask_line, unix
from tests.fakes.shouting_server import MAX_LINE, asked, server_on

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there it is a pipe, which tests/windows tries")


async def test_only_the_owner_may_open_the_socket(tmp_path: Path) -> None:
    path = tmp_path / "c" / "control.sock"
    server = server_on(path)
    await server.open()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    await server.close()
    assert not path.exists()


async def test_lines_are_answered_and_nonsense_ends_its_own_connection_only(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    server = server_on(path)
    await server.open()
    assert await asked(path, b"say yes\n") == b"YES\n"
    assert await asked(path, b"\xff\n") == b"no: Not a question.\n"
    with pytest.raises(NoAnswerError):
        await asked(path, b"say " + b"x" * MAX_LINE * 4 + b"\n")
    assert await asked(path, b"say still\n") == b"STILL\n"
    await server.close()
    with pytest.raises(NobodyListensError, match="No program listens"):
        await asked(path, b"say anyone\n")


async def test_a_socket_left_by_a_killed_program_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    path.write_bytes(b"")
    server = server_on(path)
    await server.open()
    assert await asked(path, b"say here\n") == b"HERE\n"
    await server.close()


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root can give a folder away")
async def test_a_socket_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    os.chown(folder, 12345, 12345)
    with pytest.raises(LocalSocketError, match="does not belong to you"):
        await server_on(folder / "control.sock").open()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Below nothing that only its owner may enter."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root can become another user")
async def test_another_user_is_told_so_and_not_answered_even_where_the_file_lets_them_in(open_folder: Path) -> None:
    path = open_folder / "control.sock"
    server = server_on(path)
    await server.open()
    open_folder.chmod(0o755)
    path.chmod(0o666)
    program = (
        "import os, socket, sys; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "c = socket.socket(socket.AF_UNIX); c.connect(sys.argv[1])\n"
        "sys.stdout.write(c.makefile().read())"
    )
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", "-c", program, str(path), stdout=subprocess.PIPE
    )
    told, _ = await other.communicate()
    assert told == b"no: This is another user's program; only its owner may ask it.\n"
    await server.close()


async def test_nothing_is_asked_of_a_program_of_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "control.sock"
    server = server_on(path)
    await server.open()
    monkeypatch.setattr(unix, "peer_user", lambda connection: os.geteuid() + 1)
    with pytest.raises(LocalSocketError, match="is not yours"):
        await asked(path, b"say hello\n")
    monkeypatch.undo()
    assert await asked(path, b"say hello\n") == b"HELLO\n"
    await server.close()


def test_a_program_that_hangs_is_not_waited_for(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "control.sock"))
        silent.listen()
        with pytest.raises(NoAnswerError, match="does not answer"):
            ask_line(tmp_path / "control.sock", b"say\n", max_line=MAX_LINE, timeout_s=0.1)
