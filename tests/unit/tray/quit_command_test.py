"""`gogrid-worker quit`: who replaces the programs when it returns must not meet one that still runs."""

import argparse
import asyncio
from pathlib import Path

import pytest

from gogrid.file_lock import FileLock
from gogrid.places import WorkerPlaces, worker_places
from runner.control_messages import Done, Refused
from tray.commands.base import Context, RefusedError
from tray.commands.quitting import QUIT
from tray.instance import NoAppError, app_server
from tray.instance_messages import AppAnswer, AppAsk, Quit

PLAIN = argparse.Namespace(json=False)


@pytest.fixture
def places(tmp_path: Path) -> WorkerPlaces:
    return worker_places(config=None, data=tmp_path, environment={}, platform="linux", home=tmp_path, user=0)


async def test_it_returns_when_the_app_has_let_go_of_its_folder(
    places: WorkerPlaces, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[AppAsk] = []
    ended: list[bool] = []
    lock = FileLock(places.app_lock)

    def end() -> None:
        ended.append(True)
        lock.__exit__(None, None, None)

    async def answer(question: AppAsk) -> AppAnswer:
        asked.append(question)
        asyncio.get_running_loop().call_later(0.15, end)
        return Done()

    lock.__enter__()
    server = app_server(places.instance, answer)
    await server.open()
    try:
        assert await asyncio.to_thread(QUIT.run, PLAIN, Context(places, ())) == 0
    finally:
        await server.close()
    assert (asked, ended) == ([Quit()], [True])
    assert capsys.readouterr().out == "ended\n"


async def test_a_refusal_is_told(places: WorkerPlaces) -> None:
    async def answer(_: AppAsk) -> AppAnswer:
        return Refused(reason="not now")

    server = app_server(places.instance, answer)
    await server.open()
    try:
        with pytest.raises(RefusedError, match="not now"):
            await asyncio.to_thread(QUIT.run, PLAIN, Context(places, ()))
    finally:
        await server.close()


def test_where_none_runs_it_says_so(places: WorkerPlaces) -> None:
    with pytest.raises(NoAppError, match="No GoGrid app is running"):
        QUIT.run(PLAIN, Context(places, ()))
