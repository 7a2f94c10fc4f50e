"""The local socket: private, tolerant of nonsense, and one runner per data folder."""

import asyncio
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from runner.control import ControlServer, RunnerLock
from runner.control_messages import Answer, Ask, AskPause, AskStatus, Done, Refused, decode_answer, encode_line
from runner.errors import RunnerError


async def ask_raw(path: Path, line: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(line)
        return await reader.readline()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def test_only_the_owner_may_open_the_socket(tmp_path: Path) -> None:
    server = ControlServer(tmp_path / "c" / "control.sock", lambda ask: Done())
    await server.open()
    assert stat.S_IMODE((tmp_path / "c" / "control.sock").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "c").stat().st_mode) == 0o700
    await server.close()
    assert not (tmp_path / "c" / "control.sock").exists()


async def test_a_question_is_answered_and_nonsense_is_refused_in_words(tmp_path: Path) -> None:
    asked: list[Ask] = []

    def respond(question: Ask) -> Answer:
        asked.append(question)
        return Done()

    path = tmp_path / "control.sock"
    server = ControlServer(path, respond)
    await server.open()
    assert decode_answer(await ask_raw(path, encode_line(AskPause(reason="lunch")))) == Done()
    assert asked == [AskPause(reason="lunch")]
    for nonsense in (b"hello\n", b'{"type":"AskEverything"}\n', b"\xff\xfe\n", b"[" * 5000 + b"\n"):
        answer = decode_answer(await ask_raw(path, nonsense))
        assert isinstance(answer, Refused)
        assert answer.reason.startswith("Not a question")
    assert await ask_raw(path, b"x" * (2 << 20)) == b""
    assert decode_answer(await ask_raw(path, encode_line(AskStatus()))) == Done()
    await server.close()


async def test_a_socket_left_by_a_killed_runner_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    path.write_bytes(b"")
    server = ControlServer(path, lambda ask: Done())
    await server.open()
    assert decode_answer(await ask_raw(path, encode_line(AskStatus()))) == Done()
    await server.close()


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root can give a folder away")
async def test_a_socket_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    os.chown(folder, 12345, 12345)
    with pytest.raises(RunnerError, match="does not belong to you"):
        await ControlServer(folder / "control.sock", lambda ask: Done()).open()


def test_a_second_runner_on_one_folder_is_refused(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from runner.control import RunnerLock\n"
        "with RunnerLock(Path(sys.argv[1])): print('locked', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    with holder:
        assert holder.stdout.readline() == b"locked\n"
        with pytest.raises(RunnerError, match="already"), RunnerLock(tmp_path / "lock"):
            pass
        holder.kill()
        holder.wait()
        with RunnerLock(tmp_path / "lock"):
            pass
