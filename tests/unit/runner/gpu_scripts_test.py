"""Threat 9: a script that is lent the GPU has it alone, where its owner lends it to scripts at all: real executors."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from gogrid.ids import JobId, Sha256
from gogrid.protocol.job_messages import Finished, PythonDone, PythonEnd
from gogrid.protocol.messages import Assign, Cancel
from gogrid.protocol.tasks import InputFile, PythonLimits, PythonTask
from gogrid.protocol.worker_report import DeviceKind
from runner.facts import Facts, gather
from runner.limits import Limit
from runner.probes.base import Cpu, EngineBuild
from runner.session import JobStream
from tests.fakes.job_stream import MemoryStream
from tests.fakes.worker_bench import FACTS, Bench, begun, bench, ended, until

UUID = "GPU-8f6d"
LENT = replace(FACTS, gpu_scripts=True, device=replace(FACTS.device, gpus=(UUID,)))


class Scripts:
    """Runs nothing: remembers the grants, and ends when told to."""

    def __init__(self) -> None:
        self.grants: list[tuple[str, ...]] = []
        self.end = asyncio.Event()

    async def run(self, task: PythonTask, stream: JobStream, gpus: tuple[str, ...]) -> Finished:
        self.grants.append(gpus)
        await self.end.wait()
        return Finished(result=PythonDone(exit_code=0, ended=PythonEnd.OK))


def script(b: Bench, job_id: str, *, gpu: bool) -> MemoryStream:
    file = InputFile(name="a.py", sha256=Sha256("0" * 64), size=1)
    limits = PythonLimits(memory_bytes=1, cpu_cores=0.5)
    task = PythonTask(files=(file,), entry="a.py", limits=limits, gpu=gpu)
    return b.assign(Assign(job_id=JobId(job_id), epoch=1, task=task))


@pytest.fixture
async def lending(tmp_path: Path) -> AsyncIterator[tuple[Bench, Scripts]]:
    async with bench(tmp_path / "m", facts=LENT) as b:
        b.work._job_runner._scripts = scripts = Scripts()
        yield b, scripts
        scripts.end.set()


async def test_a_gpu_is_lent_only_where_its_owner_says_so(tmp_path: Path) -> None:
    async with bench(tmp_path / "m") as b:
        script(b, "job_g", gpu=True)
        assert b.refused == [("job_g", "it lends its GPU to models only, not to scripts")]


async def test_an_owner_who_takes_the_gpu_back_has_it_at_once(lending: tuple[Bench, Scripts]) -> None:
    b, scripts = lending
    asks, plain = script(b, "job_g", gpu=True), script(b, "job_p", gpu=False)
    await until(lambda: len(scripts.grants) == 2)
    b.work.lend(replace(LENT, gpu_scripts=False))
    assert isinstance(asks.last, Finished)
    assert [job.assign.job_id for job in b.work.jobs] == ["job_p"]
    assert plain.messages == []


async def test_only_a_script_that_asks_sees_the_gpu(lending: tuple[Bench, Scripts]) -> None:
    b, scripts = lending
    script(b, "job_p", gpu=False)
    script(b, "job_g", gpu=True)
    await until(lambda: len(scripts.grants) == 2)
    assert (scripts.grants, b.refused) == ([(), (UUID,)], [])


async def test_a_script_with_the_gpu_has_it_alone(lending: tuple[Bench, Scripts]) -> None:
    b, scripts = lending
    first = script(b, "job_1", gpu=True)
    script(b, "job_2", gpu=True)
    chat = b.chat(b.blobs.echo_model(100), "hello", job_id="job_3")
    assert b.refused == [("job_2", "its GPU is at work"), ("job_3", "its GPU is lent to a script")]
    scripts.end.set()
    await ended(first)
    await until(lambda: not b.work.jobs)
    await ended(b.chat(b.blobs.echo_model(100), "hello"))
    assert not begun(chat)


async def test_models_leave_the_gpu_before_a_script_gets_it(lending: tuple[Bench, Scripts]) -> None:
    b, scripts = lending
    digest = b.blobs.echo_model(100)
    busy = b.chat(digest, "#echo chunks=10000 delay_ms=2\nx", job_id="job_c")
    await until(lambda: begun(busy))
    script(b, "job_1", gpu=True)
    assert b.refused == [("job_1", "its GPU is at work")]
    b.work.cancelled(Cancel(job_id=JobId("job_c"), epoch=1, reason="enough"))
    await until(lambda: not b.work.jobs and b.pool.loaded[0].running == 0)
    assert b.launcher.alive == 1
    script(b, "job_2", gpu=True)
    await until(lambda: scripts.grants == [(UUID,)] and b.launcher.alive == 0)


@pytest.mark.parametrize(
    ("kind", "wanted", "lent"), [("cuda", True, True), ("cuda", False, False), ("cpu", True, False)]
)
def test_a_gpu_that_is_not_there_cannot_be_lent(kind: str, wanted: bool, lent: bool) -> None:
    facts: Facts = gather(
        software="t",
        cpu=Cpu(name="c", cores=2, memory_bytes=100),
        cores_lent=0,
        max_ram=Limit(share=0.5),
        device=replace(FACTS.device, kind=DeviceKind(kind)),
        engine=EngineBuild(torch=False, cuda=False),
        sandbox=None,
        no_sandbox="a test",
        gpu_scripts=wanted,
    )
    assert facts.gpu_scripts == lent
