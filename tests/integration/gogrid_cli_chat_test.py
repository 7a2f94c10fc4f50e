"""`gogrid chat` against the real app: what is sent, what is shown, what Ctrl-C stops."""

import asyncio
import io
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Iterator
from pathlib import Path

import pytest

from coordinator.errors import JobFailedError, NoWorkerError
from gogrid.client import ChatTurn, GoGrid
from gogrid.client.cli import main
from gogrid.protocol.job_messages import Finished, Progress, Started, TextDone, Tokens
from gogrid.protocol.tasks import ChatTask
from gogrid.protocol.worker_report import LoadStage
from tests.fakes.backend import CHAT, Step, Task, echo, paced
from tests.fakes.https_grid import HttpsGrid, https_grid, logged_in
from tests.fakes.terminal import Terminal

DONE = Finished(result=TextDone(finish_reason="stop", prompt_tokens=1, completion_tokens=1))


@pytest.fixture
def grid(tmp_path: Path) -> Iterator[HttpsGrid]:
    with https_grid(tmp_path / "grid") as grid:
        yield grid


@pytest.fixture
def environment(tmp_path: Path, grid: HttpsGrid) -> dict[str, str]:
    return logged_in(grid, tmp_path)


def says(grid: HttpsGrid, *steps: Step) -> None:
    grid.backend.requests.script = lambda task, number: [Started(device="cpu"), *steps]


def text(piece: str) -> Tokens:
    return Tokens(seq=0, text=piece, token_ids=(0,))


def asked(grid: HttpsGrid) -> ChatTask:
    task = grid.backend.requests.tickets[-1].task
    assert isinstance(task, ChatTask)
    return task


def test_one_question_is_asked_and_answered(
    grid: HttpsGrid, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--system", "Be brief.", "--temperature", "0", "--max-tokens", "7", "--seed", "5"]
    assert main(["chat", CHAT, "hello", *options, "there"], environment) == 0
    assert capsys.readouterr().out == "hello there\n"
    task = asked(grid)
    assert [(message.role, message.content) for message in task.messages] == [
        ("system", "Be brief."),
        ("user", "hello there"),
    ]
    assert (task.sampling.temperature, task.sampling.max_tokens, task.sampling.seed) == (0.0, 7, 5)


def test_piped_input_is_the_question(
    grid: HttpsGrid, environment: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("from a pipe"))
    assert main(["chat", CHAT], environment) == 0
    assert capsys.readouterr().out == "from a pipe\n"


def test_nothing_to_ask_is_wrong_usage(
    grid: HttpsGrid, environment: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for piped in ("", " \n", "x" * ((1 << 20) + 1)):
        monkeypatch.setattr("sys.stdin", io.StringIO(piped))
        assert main(["chat", CHAT], environment) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert grid.seen == []


def test_json_gives_the_exact_text_and_usage(
    grid: HttpsGrid, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    says(grid, text("a\x1b[31mb"), DONE)
    assert main(["chat", CHAT, "x", "--json"], environment) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer == {
        "text": "a\x1b[31mb",
        "finish_reason": "stop",
        "usage": {"prompt_tokens": 1, "completion_tokens": 1},
    }


def test_control_characters_of_the_model_are_shown_and_not_obeyed(
    grid: HttpsGrid, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    says(grid, text("\x1b]0;owned\x07\x9b31m"), text("\r\x08hid\u202eden\n\tkept"), DONE)
    assert main(["chat", CHAT, "x"], environment) == 0
    assert capsys.readouterr().out == "\\x1b]0;owned\\x07\\x9b31m\\x0d\\x08hid\\u202eden\n\tkept\n"


def test_what_an_answer_waits_for_is_said_once_and_in_the_coordinators_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with https_grid(tmp_path / "grid", loading_s=0.05) as grid:
        requests = grid.backend.requests
        requests.waiting_for = ("one: other programs use 63% of the processor\x1b[31m",)
        requests.script = lambda task, number: [0.3, *echo(task, number)]
        assert main(["chat", CHAT, "hello"], logged_in(grid, tmp_path)) == 0
    shown = capsys.readouterr()
    assert shown.out == "hello\n"
    why = "one: other programs use 63% of the processor\\x1b[31m"
    assert shown.err == f"(waiting for a worker ({why}))\n"


def test_how_far_a_model_is_is_no_figure_that_never_moves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def loads(task: Task, number: int) -> list[Step]:
        steps = list(echo(task, number))
        for fraction in (0.3, 0.0):
            steps[:0] = [Progress(stage=LoadStage.CONVERTING, fraction=fraction, eta_s=-1.0), 0.3]
        return steps

    with https_grid(tmp_path / "grid", loading_s=0.05) as grid:
        grid.backend.requests.script = loads
        environment = logged_in(grid, tmp_path)
        assert main(["chat", CHAT, "hello"], environment) == 0
        assert capsys.readouterr().err == "(converting)\n"
        if os.name != "posix":
            return
        with Terminal(["chat", CHAT, "hello"], environment | {"TERM": "xterm"}) as terminal:
            terminal.expect("\x1b7(converting 0%)\x1b8\x1b[J")
            terminal.expect("\x1b7(converting 30%)\x1b8\x1b[J")
            terminal.expect("hello\r\n")
            assert terminal.wait() == 0


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_what_is_waited_for_in_mid_answer_is_shown_until_it_goes_on(tmp_path: Path) -> None:
    with https_grid(tmp_path / "grid", loading_s=0.05) as grid:
        requests = grid.backend.requests
        requests.waiting_for = ("one: paused by its owner\x1b[31m",)
        requests.script = lambda task, number: [Started(device="cpu"), text("half"), 0.3, text(" and half"), DONE]
        environment = logged_in(grid, tmp_path) | {"TERM": "xterm"}
        with Terminal(["chat", CHAT, "hello"], environment) as terminal:
            terminal.expect("half")
            terminal.expect("\r\n(waiting for a worker (one: paused by its owner\\x1b[31m))\x1b8\x1b[J")
            terminal.expect("\x1b8\x1b[J and half\r\n")
            assert terminal.wait() == 0


def test_refusals_are_the_coordinators_own_sentence(
    grid: HttpsGrid, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["chat", "nobody", "x"], environment) == 1
    assert capsys.readouterr().err == "gogrid: There is no model 'nobody' here.\n"
    grid.backend.requests.refusal = NoWorkerError("No worker can serve it: one is paused.", 7)
    assert main(["chat", CHAT, "x"], environment) == 1
    assert capsys.readouterr().err == "gogrid: No worker can serve it: one is paused. Try again in 7 s.\n"
    assert main(["chat", CHAT, "x", "--json"], environment) == 1
    assert json.loads(capsys.readouterr().err)["error"]["code"] == "no_worker"


def test_control_characters_in_a_refusal_are_not_obeyed_either(
    grid: HttpsGrid, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    grid.backend.requests.refusal = NoWorkerError("\x1b[2J\nnothing", 1)
    assert main(["chat", CHAT, "x"], environment) == 1
    assert capsys.readouterr().err == "gogrid: \\x1b[2J\\x0anothing Try again in 1 s.\n"


def test_an_answer_that_fails_midway_keeps_what_came_and_ends_with_one(
    grid: HttpsGrid, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    says(grid, text("half"), 0.05, JobFailedError("No worker is left to go on with it.", "worker_lost"))
    assert main(["chat", CHAT, "x"], environment) == 1
    shown = capsys.readouterr()
    assert shown.out == "half\n"
    assert "No worker is left to go on with it." in shown.err


@pytest.mark.parametrize("politely", [False, True])
def test_a_connection_cut_midway_is_not_taken_for_the_end(
    grid: HttpsGrid, environment: dict[str, str], capsys: pytest.CaptureFixture[str], politely: bool
) -> None:
    says(grid, text("half"), 0.05, text("rest"), DONE)
    grid.cut_politely = politely
    grid.cut = lambda method, path: 1 if method == "POST" else None
    assert main(["chat", CHAT, "x"], environment) in (1, 2)
    shown = capsys.readouterr()
    assert shown.out == "half\n"
    assert shown.err.startswith("gogrid: The answer was cut off")
    assert shown.err.endswith(": ask again.\n")


def test_closing_a_stream_frees_its_place(grid: HttpsGrid, environment: dict[str, str]) -> None:
    grid.backend.requests.script = paced(1000, 0.01)
    with GoGrid.from_login(environment) as client:
        pieces = client.chat_stream(CHAT, [ChatTurn(role="user", content="x")])
        assert next(pieces).text == ""
        pieces.close()
        [ticket] = grid.backend.requests.tickets
        grid.call(_within(ticket.cancelled.wait(), 1.0))


async def _within(work: Awaitable[object], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        await work


def test_the_sdk_gives_whole_answers_and_models(grid: HttpsGrid, environment: dict[str, str]) -> None:
    with GoGrid.from_login(environment) as client:
        answer = client.chat(CHAT, [ChatTurn(role="user", content="one two three")], max_tokens=2)
        assert (answer.text, answer.finish_reason, answer.usage.completion_tokens) == ("one two", "length", 2)
        assert [model.id for model in client.models()] == ["echo", "org/chat-b", "tiny-embed"]


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_ctrl_c_stops_the_answer_and_not_the_conversation(grid: HttpsGrid, environment: dict[str, str]) -> None:
    def script(task: Task, number: int) -> list[Step]:
        if number == 0:
            return [Started(device="cpu"), text("endless"), *[0.01, text(" more")] * 5000, DONE]
        return [Started(device="cpu"), text("second answer"), DONE]

    grid.backend.requests.script = script
    with Terminal(["chat", CHAT], environment) as terminal:
        terminal.expect(">>> ")
        terminal.type("first\n")
        terminal.expect("endless more")
        terminal.interrupt()
        terminal.expect("(stopped)")
        terminal.expect(">>> ")
        grid.call(_within(grid.backend.requests.tickets[0].cancelled.wait(), 1.0))
        terminal.interrupt()
        terminal.expect("ends the conversation")
        terminal.type("second\n")
        terminal.expect("second answer")
        terminal.expect(">>> ")
        roles = [message.role for message in asked(grid).messages]
        assert roles == ["user", "assistant", "user"]
        assert asked(grid).messages[1].content.startswith("endless more")
        terminal.type("/clear\nthird\n")
        terminal.expect("second answer")
        terminal.expect(">>> ")
        assert [message.content for message in asked(grid).messages] == ["third"]
        terminal.type("\x04")
        assert terminal.wait() == 0


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_a_refusal_does_not_end_the_conversation(grid: HttpsGrid, environment: dict[str, str]) -> None:
    grid.backend.requests.refusal = NoWorkerError("No worker can serve it now.", 7)
    with Terminal(["chat", CHAT], environment) as terminal:
        terminal.expect(">>> ")
        terminal.type("hello\n")
        terminal.expect("gogrid: No worker can serve it now.")
        terminal.expect(">>> ")
        grid.backend.requests.refusal = None
        terminal.type("again\n")
        terminal.expect("again\r\nagain")
        assert [message.content for message in asked(grid).messages] == ["again"]
        terminal.type("/exit\n")
        assert terminal.wait() == 0


def test_a_reader_that_goes_away_is_no_traceback(grid: HttpsGrid, environment: dict[str, str]) -> None:
    grid.backend.requests.script = paced(300, 0.005)
    process = subprocess.Popen(
        [sys.executable, "-m", "gogrid.client.cli", "chat", CHAT, "x"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(5)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(10) == 1
