"""A script that no worker can ever hold is refused when it is submitted, with the numbers; what may yet fit waits."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from coordinator.errors import RequestError
from coordinator.records import JobState
from coordinator.tickets import Submission
from gogrid.protocol.tasks import ChatTask, ModelRef, PythonLimits, PythonTask, Sampling
from gogrid.protocol.worker_report import Device, DeviceKind, Readiness, WorkerReport
from tests.fakes.durable import KEY, MODEL, REPORT, SCRIPT, Desk, open_desk


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
    with pytest.raises(RequestError, match=r"line 2: `limits`: The job asks for 5\.0 GB"):
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


GPU_SCRIPT = msgspec.structs.replace(SCRIPT, gpu=True)


async def test_a_gpu_that_nobody_lends_to_scripts_is_refused_and_one_that_may_come_is_waited_for(desk: Desk) -> None:
    assert (await desk.submit(GPU_SCRIPT)).state is JobState.QUEUED, "nobody is connected: nothing is known"
    desk.dispatcher.reported(desk.worker("a"), report(8 * 10**9, 4))
    with pytest.raises(RequestError, match="`gpu`: no worker's owner lends a GPU to scripts") as refused:
        await desk.submit(GPU_SCRIPT)
    assert (refused.value.param, refused.value.code) == ("gpu", "no_gpu_for_scripts")
    desk.dispatcher.reported(desk.worker("lender"), report(10**9, 1, gpu_scripts=True))
    with pytest.raises(RequestError, match=r"which no worker lends: lender 1\.0 GB and 1 core\."):
        await desk.submit(GPU_SCRIPT)


async def test_a_script_has_the_gpu_alone(tmp_path: Path) -> None:
    async with open_desk(tmp_path, MODEL) as desk:
        link = desk.worker("a")
        desk.dispatcher.reported(link, report(64 * 10**9, 8, gpu_scripts=True))
        chat = ChatTask(model=ModelRef(name="m", digest=MODEL.digest), messages=(), sampling=Sampling())
        first = await desk.submit(GPU_SCRIPT)
        assert first.state is JobState.LEASED
        waiting = {}
        for task in (GPU_SCRIPT, chat):
            record = await desk.submit(task)
            told = desk.jobs.waiting(record.id)
            waiting[type(task)] = told.reasons if told is not None else None
        assert waiting == {
            PythonTask: ("a: its GPU is at work, and a script has it alone",),
            ChatTask: ("a: a script has its GPU",),
        }
        plain = await desk.submit(SCRIPT)
        assert desk.jobs.waiting(plain.id) is None, "others need no GPU"
        await desk.assigned(link, 2)
        assert [assign.task.gpu for assign in link.assigned() if isinstance(assign.task, PythonTask)] == [True, False]
