"""Where a program's files lie, when whoever named the place named no usable one: one clear line, no traceback."""

from collections.abc import Callable
from pathlib import Path

import pytest

from coordinator.cli.main import main as coordinator
from coordinator.config import DATA_VARIABLE as COORDINATOR_DATA
from gogrid.places import CONFIG_VARIABLE, DATA_VARIABLE, worker_places
from runner.__main__ import main as runner
from tray.cli import main as worker

NO_TEXT = "\udcff\udcfe"
"""As Python gives the bytes ff fe of a command line."""


@pytest.mark.parametrize("words", [["status"], ["doctor"], ["config", "show"], ["join"], ["--version"]], ids="".join)
@pytest.mark.parametrize("named", [DATA_VARIABLE, CONFIG_VARIABLE])
def test_a_workers_place_that_is_no_text_is_refused_in_words(
    words: list[str], named: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(named, NO_TEXT)
    assert worker(words) == 2
    wanted = f"gogrid-worker: {named} {Path.cwd()}/\\xff\\xfe is not usable: a path must be UTF-8 text.\n"
    assert capsys.readouterr().err == wanted


@pytest.mark.parametrize("flag", ["--data", "--config"])
@pytest.mark.parametrize("program", [worker, runner, coordinator], ids=["worker", "runner", "coordinator"])
def test_an_option_that_is_no_text_is_refused_in_words(
    program: Callable[[list[str]], int], flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        program([flag, NO_TEXT, "status"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_runner_itself_refuses_it_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv(DATA_VARIABLE, NO_TEXT)
    assert runner(["run"]) == 2
    assert DATA_VARIABLE in capsys.readouterr().err


def test_a_coordinators_folder_that_is_no_text_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(COORDINATOR_DATA, f"{tmp_path}/{NO_TEXT}")
    assert coordinator(["init"]) == 2
    shown = f"{COORDINATOR_DATA} {tmp_path}/\\xff\\xfe"
    assert capsys.readouterr().err == f"gogrid-coordinator: {shown} is not usable: a path must be UTF-8 text.\n"
    assert not list(tmp_path.iterdir())


def test_the_home_of_nobody_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(DATA_VARIABLE, "~nobody-of-this-name/x")
    assert worker(["status"]) == 2
    said = f"{DATA_VARIABLE} ~nobody-of-this-name/x is not usable: its ~ must be somebody's home folder."
    assert said in capsys.readouterr().err


def test_a_users_own_folders_that_are_no_text_are_refused_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", f"/{NO_TEXT}")
    assert worker(["status"]) == 2
    assert "the folder of this user's programs /\\xff\\xfe/" in capsys.readouterr().err


def test_a_long_folder_beside_a_runtime_folder_that_is_no_text_still_has_a_socket() -> None:
    environment = {"XDG_RUNTIME_DIR": f"/run/{NO_TEXT}"}
    data = Path("/" + "x" * 120)
    places = worker_places(config=None, data=data, environment=environment, platform="linux", home=data, user=1)
    assert str(places.control).startswith(f"/run/{NO_TEXT}/gogrid/")
