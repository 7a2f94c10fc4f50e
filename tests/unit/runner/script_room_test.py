"""Scripts beside models in the same memory, with real executor processes: a load is not for nothing, and the worker
tells the coordinator enough that both judge alike."""

from pathlib import Path

from coordinator.dispatch.placement import Need
from coordinator.dispatch.scheduler import Grant, Scheduler
from gogrid.ids import JobId, WorkerId
from gogrid.protocol.job_messages import Finished
from gogrid.protocol.messages import Assign
from gogrid.protocol.tasks import PythonLimits, PythonTask
from runner.models.residence import Turns
from tests.fakes.worker_bench import CAP, Bench, begun, bench, ended, until

TURN = Turns().least_s
SCRIPT = PythonTask(files=(), entry="a.py", limits=PythonLimits(memory_bytes=CAP * 7 // 10, cpu_cores=0.1))


def refuses(b: Bench) -> bool:
    """Whether the worker refuses a script now. One that it takes ends at once: the bench runs none."""
    before = len(b.refused)
    b.assign(Assign(job_id=JobId(f"script_{before}_{b.now}"), epoch=1, task=SCRIPT))
    return len(b.refused) > before


def placed(b: Bench) -> bool:
    """Whether a coordinator that knows nothing but the worker's report gives it the script."""
    scheduler, worker, job = Scheduler(30.0), WorkerId("w"), JobId("j")
    scheduler.joined(worker, "w", draining=False)
    scheduler.reported(worker, b.work.report())
    scheduler.add(Need(job, None, "", SCRIPT.limits.memory_bytes, SCRIPT.limits.cpu_cores))
    return scheduler.place(0.0) == [Grant(job, worker)]


async def test_a_model_that_was_just_loaded_is_not_closed_for_a_script_before_its_turn_ends(tmp_path: Path) -> None:
    """Who was told to come back when the model is loaded finds it there."""
    async with bench(tmp_path / "m") as b:
        digest = b.blobs.echo_model(CAP // 2)
        await ended(b.chat(digest, "x"))
        await until(lambda: b.pool.loaded[0].running == 0)
        assert [model.kept for model in b.pool.loaded] == [True]
        assert refuses(b)
        b.pool.give_way(CAP)
        await ended(again := b.chat(digest, "y"))
        assert isinstance(again.last, Finished)
        assert len(b.launcher.specs) == 1
        b.now += TURN
        assert [model.kept for model in b.pool.loaded] == [False]
        assert not refuses(b)


async def test_what_the_worker_would_refuse_for_want_of_memory_is_not_placed_on_it(tmp_path: Path) -> None:
    async with bench(tmp_path / "m") as b:
        assert placed(b)
        stream = b.chat(b.blobs.echo_model(CAP // 2), "#echo chunks=10000 delay_ms=2\nx")
        await until(lambda: bool(b.pool.memory_held))
        assert (refuses(b), placed(b)) == (True, False), "on its way"
        await until(lambda: begun(stream) and b.pool.loaded[0].running == 1)
        b.now += TURN
        assert (refuses(b), placed(b)) == (True, False), "at work"
        b.work._jobs.forget(stream.job_id)
        await until(lambda: b.pool.loaded[0].running == 0 and b.pool.memory_kept == 0)
        assert (refuses(b), placed(b)) == (False, True), "unused, and its turn is over"
