"""The local socket in the runner's messages, and one runner per data folder."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from gogrid.local_socket import NoAnswerError, ask_line
from runner.control import ControlServer, RunnerLock
from runner.control_messages import (
    MAX_LINE,
    Answer,
    Ask,
    AskPause,
    AskStatus,
    Done,
    Refused,
    decode_answer,
    encode_line,
)
from runner.errors import RunnerError


async def ask_raw(path: Path, line: bytes) -> bytes:
    try:
        return await asyncio.to_thread(ask_line, path, line, max_line=MAX_LINE)
    except NoAnswerError:
        return b""


async def test_a_question_is_answered_and_nonsense_is_refused_in_words(tmp_path: Path) -> None:
    asked: list[Ask] = []

    async def respond(question: Ask) -> Answer:
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
        assert holder.stdout.readline().strip() == b"locked"
        with pytest.raises(RunnerError, match="already"), RunnerLock(tmp_path / "lock"):
            pass
        holder.kill()
        holder.wait()
        with RunnerLock(tmp_path / "lock"):
            pass
