"""What the queue costs: `python -m benchmarks.queue_cost` measures the scheduler with 100,000 jobs waiting.

Everything runs in this process and without any I/O: the figures are processor time of the coordinator's event loop.
"""

import random
import time
from collections.abc import Callable

from coordinator.dispatch.placement import Need
from coordinator.dispatch.scheduler import Grant, Scheduler
from gogrid.ids import JobId, KeyId, Sha256, WorkerId
from gogrid.protocol.worker_report import Device, DeviceKind, LoadedModel, Readiness, WorkerReport

JOBS = 100_000
SLOTS = 16
CHURN = 2000
MODEL = Sha256("a" * 64)
_REPORT = WorkerReport(
    software="benchmark",
    hostname="host",
    platform="none",
    readiness=Readiness.READY,
    reason="ready",
    devices=(Device(kind=DeviceKind.CPU, name="cpu", memory_bytes=1 << 36, cap_bytes=1 << 36, why=""),),
    engines=("echo",),
    sandbox="",
    python_jobs=True,
    loaded=(LoadedModel(digest=MODEL, memory_bytes=1, running=0, slots=SLOTS),),
    cores=8,
)


def measure(workers: int, keys: int) -> dict[str, float]:
    """Microseconds of each operation."""
    scheduler = Scheduler(lease_s=1e9)
    for number in range(workers):
        scheduler.joined(WorkerId(f"w{number}"), f"w{number}", draining=False)
        scheduler.reported(WorkerId(f"w{number}"), _REPORT)
    needs = [Need(JobId(f"j{n}"), MODEL, "echo", 1, owner=KeyId(f"k{n % keys}")) for n in range(JOBS)]
    shuffled = random.Random(1).sample(needs, CHURN)
    granted: list[JobId] = []
    now = 1.0

    def place() -> None:
        granted.extend(order.job_id for order in scheduler.place(now) if isinstance(order, Grant))

    def one_after_the_other() -> None:
        for _ in range(CHURN):
            scheduler.remove(granted.pop(0))
            place()

    return {
        "add": _each(JOBS, lambda: [scheduler.add(need) for need in needs]),
        "place, a burst": _each(workers * SLOTS, place),
        "one ends, the next is placed": _each(CHURN, one_after_the_other),
        "place, when nothing fits": _each(CHURN, lambda: [scheduler.place(now) for _ in range(CHURN)]),
        "position": _each(CHURN, lambda: [scheduler.position(need.job_id) for need in shuffled]),
        "remove": _each(CHURN, lambda: [scheduler.remove(need.job_id) for need in shuffled]),
    }


def _each(count: int, work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return (time.process_time() - begun) * 1e6 / count


def main() -> None:
    cases = {(workers, keys): measure(workers, keys) for workers, keys in ((10, 1), (500, 1), (500, 1000))}
    heads = [f"{workers} workers, {keys} key{'s' if keys > 1 else ''}" for workers, keys in cases]
    print(f"| µs each, {JOBS:,} jobs waiting | " + " | ".join(heads) + " |")
    print("|---|" + "---|" * len(cases))
    for name in next(iter(cases.values())):
        print(f"| {name} | " + " | ".join(f"{case[name]:.1f}" for case in cases.values()) + " |")


if __name__ == "__main__":
    main()
