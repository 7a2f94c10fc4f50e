"""What needs a sandbox, put together: models in memory, scripts, the owner's first test. All of it or nothing.

Promises: nothing of it starts a process past the memory guard.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gogrid.protocol.worker_report import DeviceKind
from runner.facts import Facts
from runner.first_test import FindModel, FirstTest
from runner.models.blobs import Blobs
from runner.models.cache import ModelCache
from runner.models.disk import ModelDisk
from runner.models.residence import Turns
from runner.probes.gpu_memory import GpuMemory, GpuUnreadableError
from runner.probes.nvidia_memory import nvidia_memory
from runner.sandbox.base import Launcher
from runner.scripts import ScriptRunner
from runner.serving.bring import Engine
from runner.serving.memory_guard import Caps, MemoryGuard
from runner.serving.pool import ExecutorPool
from runner.serving.watched_launcher import WatchedLauncher

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sandboxed:
    pool: ExecutorPool
    scripts: ScriptRunner
    first_test: FirstTest


def sandboxed(
    facts: Facts,
    launcher: Launcher,
    guard: MemoryGuard,
    cache: ModelCache,
    disk: ModelDisk,
    blobs: Blobs,
    jobs: Path,
    *,
    turns: Turns,
    clock: Callable[[], float],
    scripts_hold: Callable[[], int],
    find: FindModel,
    tested: Callable[[], None],
) -> Sandboxed:
    """
    Args:
        jobs: a folder for jobs alone.
        clock: monotonic seconds.
        scripts_hold: bytes that scripts hold of what models and scripts share now.
        find: names the model of the first test.
        tested: called after each first test.
    """
    engine = Engine(
        device=facts.device.kind,
        gpus=facts.device.gpus,
        cap_bytes=facts.device.cap_bytes,
        cores=facts.cores,
        engines=facts.engines,
    )
    watched = WatchedLauncher(launcher, guard)
    pool = ExecutorPool(watched, cache, disk, engine, held=scripts_hold, clock=clock, turns=turns)
    return Sandboxed(pool, ScriptRunner(watched, blobs, jobs, facts.packages), FirstTest(pool, watched, find, tested))


def caps(facts: Facts) -> Caps:
    """What all sandboxes may use together."""
    if facts.shares_memory:
        return Caps(max(facts.script_memory, facts.device.cap_bytes))
    return Caps(facts.script_memory, facts.device.cap_bytes)


def gpu_memory(facts: Facts) -> GpuMemory | None:
    """Of the GPU that is lent, if its driver can say who holds it."""
    if facts.device.kind is not DeviceKind.CUDA or not facts.device.gpus:
        return None
    try:
        return nvidia_memory(facts.device.gpus)
    except GpuUnreadableError as error:
        log.error("%s", error)
        return None
