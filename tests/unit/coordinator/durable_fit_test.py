"""A script that no worker can ever hold is refused when it is submitted, with the numbers; what may yet fit waits."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from coordinator.errors import RequestError
from coordinator.records import JobState
from coordinator.tickets import Submission
from gogrid.protocol.messages import Device, DeviceKind, Readiness, WorkerReport
from gogrid.protocol.tasks import PythonLimits, PythonTask
from tests.fakes.durable import KEY, REPORT, SCRIPT, Desk, open_desk


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(tmp_path) as made:
        yield made


def report(memory: int, cores: int, **more: object) -> WorkerReport:
    ram = Device(kind=DeviceKind.CPU, name="c", memory_bytes=memory, cap_bytes=memory, why="")
    return msgspec.structs.replace(REPORT, devices=(ram,), cores=cores, **more)


def script(memory: int, cores: float) -> PythonTask:
    return PythonTask(files=(), entry="main.py", limits=PythonLimits(memory_bytes=memory, cpu_cores=cores))


async def test_a_script_larger_than_every_worker_is_refused_with_the_numbers(desk: Desk) -> None:
    for name, memory, cores in (("small", 4, 2), ("wide", 8, 2), ("fast", 2, 16), ("tiny", 1, 1)):
        desk.dispatcher.reported(desk.worker(name), report(memory * 10**9, cores))
    with pytest.raises(RequestError) as refused:
        await desk.submit(script(16 * 10**9, 4))
    assert str(refused.value) == (
        "`limits`: The job asks for 16.0 GB of memory and 4 cores at once, which no worker lends: "
        "wide 8.0 GB and 2 cores, small 4.0 GB and 2 cores, fast 2.0 GB and 16 cores and 1 more less."
    )
    assert refused.value.param == "limits"
    with pytest.raises(RequestError):
        await desk.submit(script(8 * 10**9, 3))  # one has the memory and another the cores
    assert (await desk.submit(script(8 * 10**9, 2))).state is JobState.LEASED
    assert len(await desk.store.jobs(None, (), (), 10)) == 1


async def test_a_bulk_names_the_line_and_takes_none(desk: Desk) -> None:
    desk.dispatcher.reported(desk.worker("a"), report(4 * 10**9, 2))
    with pytest.raises(RequestError, match="line 2: `limits`: The job asks for 5.0 GB"):
        await desk.jobs.submit_all(KEY, [Submission("x", SCRIPT), Submission("x", script(5 * 10**9, 1))])
    assert await desk.store.jobs(None, (), (), 10) == []


async def test_what_a_worker_could_hold_later_waits(desk: Desk) -> None:
    large = script(16 * 10**9, 4)
    assert (await desk.submit(large)).state is JobState.QUEUED, "nobody is connected: nothing is known"
    desk.dispatcher.reported(desk.worker("models"), report(1, 1, python_jobs=False))
    assert (await desk.submit(large)).state is JobState.QUEUED, "nobody who is connected runs scripts at all"
    desk.dispatcher.reported(desk.worker("a"), report(32 * 10**9, 8, readiness=Readiness.PAUSED, reason="paused"))
    desk.dispatcher.reported(desk.worker("b"), report(1, 1))
    assert (await desk.submit(large)).state is JobState.QUEUED, "its owner may let it work again"


async def test_what_was_accepted_before_is_still_known(desk: Desk) -> None:
    link = desk.worker("a")
    first = await desk.submit(script(4 * 10**9, 1), once="k")
    desk.dispatcher.reported(link, report(10**9, 1))
    again = await desk.submit(script(4 * 10**9, 1), once="k")
    assert again.id == first.id
