"""The local socket as a named pipe: its descriptor, its clients, and what it does with nonsense."""

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest

from gogrid.local_socket import (
    LineServer,
    LocalSocketError,
    NoAnswerError,
    NobodyListensError,
    ask_line,
)
from gogrid.local_socket.windows import _connected, _new_pipe, pipe_name
from gogrid.windows import security
from tests.fakes.shouting_server import MAX_LINE, asked, server_on
from tests.windows.surroundings import under_wine


async def test_lines_are_answered_and_nonsense_ends_its_own_connection_only(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    server = server_on(path)
    await server.open()
    assert await asked(path, b"say yes\n") == b"YES\n"
    assert await asked(path, b"\xff\n") == b"no: Not a question.\n"
    with pytest.raises(NoAnswerError):
        await asked(path, b"say " + b"x" * MAX_LINE * 4 + b"\n")
    assert sorted(await asyncio.gather(*(asked(path, b"say %d\n" % each) for each in range(8)))) == [
        b"%d\n" % each for each in range(8)
    ]
    await server.close()
    with pytest.raises(NobodyListensError, match="No program listens"):
        await asked(path, b"say anyone\n")


async def test_a_long_answer_arrives_whole(tmp_path: Path) -> None:
    async def much(line: bytes) -> bytes:
        return b"x" * 500_000 + b"\n"

    server = LineServer(tmp_path / "control.sock", much, refusal=str.encode, max_line=1 << 20)
    await server.open()
    answer = await asyncio.to_thread(ask_line, tmp_path / "control.sock", b"?\n", max_line=1 << 20)
    assert len(answer) == 500_001
    await server.close()


async def test_another_process_reads_a_descriptor_for_its_user_and_the_system_only(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    server = server_on(path)
    await server.open()
    look = (
        "import sys, time; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path; from gogrid.local_socket.windows import _connected\n"
        "from gogrid.windows.security import DACL, KERNEL_OBJECT, OWNER, described\n"
        "print(described(_connected(Path(sys.argv[1]), time.monotonic() + 5), KERNEL_OBJECT, OWNER | DACL))"
    )
    other = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", look, str(path), os.getcwd()), stdout=asyncio.subprocess.PIPE
    )
    told, _ = await other.communicate()
    user = security.own_user()
    assert user.startswith("S-1-5-")
    assert told.decode().strip() == f"O:{user}D:P(A;;FA;;;{user})(A;;FA;;;SY)"
    await server.close()


async def test_nothing_is_asked_of_a_pipe_that_somebody_else_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "control.sock"
    server = server_on(path)
    await server.open()
    monkeypatch.setattr("gogrid.local_socket.windows.own_user", lambda: "S-1-5-21-1-2-3-4")
    with pytest.raises(LocalSocketError, match="is not yours"):
        await asked(path, b"say hello\n")
    monkeypatch.undo()
    assert await asked(path, b"say hello\n") == b"HELLO\n"
    await server.close()


async def test_a_program_that_hangs_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    never_looked_at = _new_pipe(pipe_name(path), first=True)
    with never_looked_at, pytest.raises(NoAnswerError, match="does not answer"):
        await asked(path, b"say\n", timeout_s=0.2)


async def test_a_client_that_comes_and_goes_leaves_the_pipe_as_it_was(tmp_path: Path) -> None:
    import _winapi

    path = tmp_path / "control.sock"
    server = server_on(path)
    await server.open()
    _winapi.CloseHandle(_connected(path, time.monotonic() + 5))  # before anybody has looked whether one came
    assert await asked(path, b"say yes\n") == b"YES\n"
    for _ in range(5):
        _winapi.CloseHandle(await asyncio.to_thread(_connected, path, time.monotonic() + 5))
    assert await asked(path, b"say still\n") == b"STILL\n"
    await server.close()


if not under_wine():  # which gives the name to a second program too

    async def test_a_name_that_is_taken_is_not_shared(tmp_path: Path) -> None:
        server = server_on(tmp_path / "control.sock")
        await server.open()
        with pytest.raises(LocalSocketError, match="Another program listens"):
            await server_on(tmp_path / "control.sock").open()
        await server.close()


def test_one_folder_has_one_name_however_it_is_written(tmp_path: Path) -> None:
    assert pipe_name(tmp_path / "control.sock") == pipe_name(Path(str(tmp_path).upper()) / "." / "control.sock")
    assert pipe_name(tmp_path / "control.sock") != pipe_name(tmp_path / "app.sock")
    assert pipe_name(tmp_path / "control.sock") != pipe_name(tmp_path / "other" / "control.sock")
