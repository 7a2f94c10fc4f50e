"""While a machine is measured its worker rests; one that has work is left alone, and a pause of its owner's stays."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from msgspec.structs import replace

from gogrid.places import worker_places
from gogrid.protocol.worker_report import Readiness
from runner.control import ControlServer
from runner.control_messages import Answer, Ask, AskPause, AskResume, AskStatus, Done, RunningJob, WorkerStatus
from tests.fakes.worker_status import READY
from tray.commands.base import Context, RefusedError
from tray.commands.bench import _at_rest

BUSY = replace(READY, jobs=(RunningJob(job_id="j", kind="chat", model="m", seconds=1.0),))
PAUSED = replace(READY, readiness=Readiness.PAUSED, order="pause")


@contextmanager
def asked(folder: Path, status: WorkerStatus) -> Iterator[tuple[Context, list[Ask]]]:
    """A worker that answers on a real socket; the orders it was given."""
    places = worker_places(config=None, data=folder, environment={}, platform="linux", home=folder, user=1)
    orders: list[Ask] = []

    async def respond(question: Ask) -> Answer:
        if isinstance(question, AskStatus):
            return status
        orders.append(question)
        return Done()

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = ControlServer(places.control, respond)
    try:
        asyncio.run_coroutine_threadsafe(server.open(), loop).result(5)
        yield Context(places, ()), orders
    finally:
        asyncio.run_coroutine_threadsafe(server.close(), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


def test_an_idle_worker_rests_meanwhile_and_goes_on_whatever_happened(tmp_path: Path) -> None:
    with asked(tmp_path, READY) as (context, orders):
        with suppress(ZeroDivisionError), _at_rest(context):
            assert [type(order) for order in orders] == [AskPause]
            raise ZeroDivisionError
        assert [type(order) for order in orders] == [AskPause, AskResume]
    pause = orders[0]
    assert isinstance(pause, AskPause)
    assert pause.until > 0, "a measurement that is cut short must not leave it paused for ever"


def test_a_worker_with_work_is_left_alone(tmp_path: Path) -> None:
    with asked(tmp_path, BUSY) as (context, orders):
        with pytest.raises(RefusedError, match="has work now"), _at_rest(context):
            pytest.fail("it was measured")
        assert orders == []


def test_an_owners_pause_stays(tmp_path: Path) -> None:
    with asked(tmp_path, PAUSED) as (context, orders):
        with _at_rest(context):
            pass
        assert orders == []
