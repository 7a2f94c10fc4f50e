"""Why no worker answers, and what to do about it: before any join, while it starts, and in a folder that cannot be."""

import asyncio
import sys
from pathlib import Path

import pytest

from gogrid.file_lock import FileLock, FileLockError
from gogrid.places import WorkerPlaces, worker_places
from runner.control_messages import AskStatus
from tray.cli import main
from tray.commands.base import Context, running
from tray.control_client import NotRunningError
from tray.instance import app_server
from tray.instance_messages import AppAnswer, AppAsk, AppState, AppStatus, UpdateState


@pytest.fixture
def places(tmp_path: Path) -> WorkerPlaces:
    return worker_places(config=None, data=tmp_path, environment={}, platform=sys.platform, home=tmp_path, user=1)


def refusal(places: WorkerPlaces) -> str:
    with pytest.raises(NotRunningError) as told:
        running(Context(places, ("--data", "over here")), AskStatus())
    return str(told.value)


def test_who_never_joined_is_told_to_join(places: WorkerPlaces) -> None:
    data = '"over here"' if sys.platform == "win32" else "'over here'"
    said = f"This worker has not joined a coordinator yet; paste its token: gogrid-worker --data {data} join TOKEN"
    assert refusal(places) == said


def test_who_has_joined_is_told_to_start_it(places: WorkerPlaces) -> None:
    places.state.mkdir()
    places.membership.write_text("{}")
    assert refusal(places).startswith("No worker is running here; start it")


@pytest.mark.parametrize(
    ("state", "sentence", "said"),
    [
        (AppState.STARTING, "Starting", "The worker is starting and does not answer yet; ask again in a few seconds."),
        (AppState.TROUBLE, "It crashed.", "GoGrid runs here, but its worker does not: It crashed."),
    ],
    ids=["starting", "crashed"],
)
async def test_an_app_whose_worker_does_not_answer_says_why(
    places: WorkerPlaces, state: AppState, sentence: str, said: str
) -> None:
    async def answer(_question: AppAsk) -> AppAnswer:
        return AppStatus(
            state=state, sentence=sentence, runner=None, update=UpdateState(), autostart=None, icon=False, pid=1
        )

    server = app_server(places.instance, answer)
    await server.open()
    try:
        assert await asyncio.to_thread(refusal, places) == said
    finally:
        await server.close()


def test_a_folder_that_cannot_be_made_is_told_as_that(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "data"
    with pytest.raises(FileLockError) as told, FileLock(folder / "app.lock"):
        pass
    assert str(told.value).startswith(f"The folder {folder} cannot be made (")
    assert str(told.value).endswith("choose one in a place where you may write.")


@pytest.mark.parametrize("words", [["config", "show"], ["config", "set", "max_vram", "6GB"]], ids=["show", "set"])
def test_a_byte_that_is_no_text_in_the_settings_is_told_with_its_line(
    tmp_path: Path, words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(b'[worker]\nname = "\xff"\n')
    assert main(["--data", str(tmp_path), *words]) == 2
    said = capfd.readouterr().err
    assert f"{file} cannot be read: line 2 is not UTF-8 text (byte 0xff)" in said
    assert (said.count("\n"), "codec" in said) == (1, False)
