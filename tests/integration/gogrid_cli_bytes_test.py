"""Bytes that are no text, from wherever the client gets its words: one sentence, nothing sent, never a traceback."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gogrid.client import ChatTurn, GoGrid
from gogrid.client.answers import ModelJobRequest
from gogrid.client.cli import main
from gogrid.client.errors import ClientError, NotTextError
from gogrid.ids import JobId
from gogrid.protocol.job_messages import PythonDone
from gogrid.protocol.tasks import ChatTask, PythonTask
from tests.fakes.backend import CHAT
from tests.fakes.https_grid import HttpsGrid, ScriptedJobs, at_work, ends, https_grid
from tests.fakes.terminal import Terminal

BAD = "caf\udce9"
LOCALES = {"c": {"LC_ALL": "C.UTF-8"}, "strict": {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "utf-8:strict"}}


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpsGrid]:
    with https_grid(tmp_path_factory.mktemp("grid")) as grid:
        yield grid


@pytest.fixture
def environment(tmp_path: Path, grid: HttpsGrid, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    grid.seen.clear()
    return at_work(grid, tmp_path, monkeypatch)


def piped(argv: list[str], given: bytes, environment: dict[str, str]) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [sys.executable, "-m", "gogrid.client.cli", *argv],
        input=given,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("locale", LOCALES)
def test_piped_bytes_that_are_no_text_are_refused(grid: HttpsGrid, environment: dict[str, str], locale: str) -> None:
    done = piped(["chat", CHAT], b"\xff\xfe", environment | LOCALES[locale])
    assert (done.returncode, done.stderr) == (2, b"gogrid: The piped input is not UTF-8 text.\n")
    assert grid.seen == []


@pytest.mark.parametrize("locale", LOCALES)
def test_a_piped_key_that_is_no_text_is_refused(grid: HttpsGrid, environment: dict[str, str], locale: str) -> None:
    argv = ["login", grid.url, "--pin", grid.identity.pin.hex(), "--key", "-"]
    done = piped(argv, b"\xff\xfe\n", environment | LOCALES[locale])
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
    assert b"not an API key" in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("locale", LOCALES)
def test_a_typed_line_that_is_no_text_does_not_end_the_conversation(
    grid: HttpsGrid, environment: dict[str, str], locale: str
) -> None:
    with Terminal(["chat", CHAT], environment | LOCALES[locale]) as terminal:
        terminal.expect(">>> ")
        terminal.type("a\udcff b\n")
        terminal.expect("That was not UTF-8 text.")
        terminal.expect(">>> ")
        terminal.type("again\n")
        terminal.expect("again\r\nagain")
        terminal.type("/exit\n")
        assert terminal.wait() == 0
    task = grid.backend.requests.tickets[-1].task
    assert isinstance(task, ChatTask)
    assert [message.content for message in task.messages] == ["again"]


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("typed", [f"{BAD}\n", "\x04"], ids=["bytes", "end"])
def test_a_typed_key_that_is_no_text_is_refused(grid: HttpsGrid, environment: dict[str, str], typed: str) -> None:
    with Terminal(["login", grid.url, "--pin", grid.identity.pin.hex()], environment) as terminal:
        terminal.expect("API key: ")
        terminal.type(typed)
        terminal.expect("That is not an API key")
        assert terminal.wait() == 2


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes only there")
def test_file_names_that_are_no_text_are_refused_and_a_folders_name_is_escaped(
    grid: HttpsGrid, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def act(jobs: ScriptedJobs, job_id: JobId, task: PythonTask) -> PythonDone:
        return ends()

    grid.jobs.act = act
    inner, outer = Path("plain"), Path(BAD)
    for folder in (inner, outer):
        folder.mkdir()
        (folder / "main.py").write_text("1")
    (inner / BAD).write_text("1")
    for extra in ([], ["--json"]):
        assert main(["run", "plain", *extra], environment) == 2
        assert main(["run", "-c", "1", "--input", "plain", *extra], environment) == 2
    assert capsys.readouterr().err.count("is not a plain file name") == 4
    assert grid.seen == []
    monkeypatch.chdir(outer)
    assert main(["run", ".", "--detach"], environment) == 0
    job = capsys.readouterr().out.strip()
    assert main(["jobs", "show", job, "--json"], environment) == 0
    assert json.loads(capsys.readouterr().out)["label"] == "caf\\udce9"


@pytest.mark.parametrize("name", ["GOGRID_CLIENT_CONFIG", "GOGRID_URL", "GOGRID_API_KEY", "GOGRID_PROFILE"])
@pytest.mark.parametrize("extra", [[], ["--json"]], ids=["people", "json"])
def test_settings_that_are_no_text_are_one_sentence(
    grid: HttpsGrid, environment: dict[str, str], capsys: pytest.CaptureFixture[str], name: str, extra: list[str]
) -> None:
    assert main(["models", *extra], environment | {name: f"/{BAD}"}) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert grid.seen == []


CALLS: dict[str, Callable[[GoGrid], object]] = {
    "chat": lambda client: client.chat(CHAT, [ChatTurn(role="user", content=BAD)]),
    "stream": lambda client: list(client.chat_stream(BAD, [])),
    "embed": lambda client: client.embed(CHAT, ["a", BAD]),
    "arguments": lambda client: client.submit_python({"a.py": b"1"}, "a.py", arguments=[BAD]),
    "file_name": lambda client: client.submit_python({"a.py": b"1", BAD: b"2"}, "a.py"),
    "request": lambda client: client.submit_request(ModelJobRequest(kind="chat", request={"model": BAD})),
    "many": lambda client: client.submit_many([{"code": BAD}]),
    "key": lambda client: client.submit_many([{"code": "1"}], idempotency_key=BAD),
    "states": lambda client: client.jobs(states=[BAD]),
}


@pytest.mark.parametrize("call", CALLS)
def test_whatever_a_program_hands_over_that_is_no_text_is_this_packages_error(
    grid: HttpsGrid, environment: dict[str, str], call: str
) -> None:
    with GoGrid.from_login(environment) as client, pytest.raises(NotTextError, match="is not UTF-8 text") as error:
        CALLS[call](client)
    assert isinstance(error.value, ClientError)
    assert grid.seen == []
