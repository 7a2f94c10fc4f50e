"""A job that kills whatever runs it, and a worker on which everything dies (R7, R8)."""

import contextlib
import threading
import time
from types import TracebackType
from typing import Self

import psutil
import pytest

from tests.faults.checker import check
from tests.faults.client_log import Acknowledged, Completed
from tests.faults.conftest import Form
from tests.faults.faultgrid import FaultGrid, GridWorker, within
from tests.faults.figures import Row, Table
from tests.faults.load import FINAL, Order

pytestmark = pytest.mark.sandbox

SHARE = 0.9
"""Of the throughput without the poison."""


class Sickness:
    """While it lasts, every model process of one worker dies as soon as it is there."""

    def __init__(self, worker: GridWorker) -> None:
        self._worker = worker
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.killed = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(0.02):
            for one in self._worker.family()[2:]:
                with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                    if "runner.executor" in one.cmdline():
                        one.kill()
                        self.killed += 1


def timed(pair: FaultGrid, name: str, jobs: int) -> tuple[float, list[object]]:
    """Jobs per second from the first acknowledgement to the last end, and the client's log."""
    load = pair.load(name, Order(submitters=3, open_jobs=8, jobs=jobs))
    begun = time.monotonic()
    assert within(300, lambda: load.count(Completed) >= jobs, 0.1), pair.last_words()
    seconds = time.monotonic() - begun
    return jobs / seconds, list(load.finish(60))


def submit_poison(pair: FaultGrid) -> str:
    messages = [{"role": "user", "content": "#echo die_after=1\nthis kills its engine"}]
    body = {"kind": "chat", "label": "poison", "request": {"model": "echo", "messages": messages}}
    answer = pair.http.post("/api/v1/jobs", json=body)
    assert answer.status_code == 201, answer.text
    job: str = answer.json()["id"]
    return job


@pytest.mark.fault("poison")
def test_a_poison_job_dies_alone_and_costs_the_others_little(pair: FaultGrid, form: Form, table: Table) -> None:
    """The engine dies of it, each time in another sandbox; the rest of the time it waits."""
    jobs = form.pick(12, 200)
    before, _ = timed(pair, "poison before", jobs)
    poison = submit_poison(pair)
    beside, entries = timed(pair, "poison with", jobs)
    begun = time.monotonic()
    within(90, lambda: pair.http.get(f"/api/v1/jobs/{poison}").json()["state"] in FINAL, 0.1)
    found = pair.http.get(f"/api/v1/jobs/{poison}").json()
    seconds = time.monotonic() - begun
    after, _ = timed(pair, "poison after", jobs)
    alone = (before + after) / 2
    verdict = check(entries)  # type: ignore[arg-type]
    others = {
        "before and after jobs/s": f"{before:.3g} {after:.3g}",
        "with jobs/s": beside,
        "share": beside / alone,
        "poison ended": f"{found['state']} after {found['attempts']} leases",
        "seconds more": seconds,
    }
    met = verdict.clean and found["state"] == "dead" and beside >= SHARE * alone
    table.add(Row("poison", 1, f"dead; {jobs} good jobs done at 90 % of the speed", met, verdict, others))
    assert verdict.clean, verdict.examples
    assert found["state"] == "dead", found
    assert found["attempts"] <= 5
    if form.soak:  # a dozen jobs on a busy machine measure nothing
        assert beside >= SHARE * alone


@pytest.mark.fault("poison")
def test_a_poison_answer_takes_neither_its_neighbours_nor_the_workers_with_it(
    pair: FaultGrid, form: Form, table: Table
) -> None:
    """Its engine serves others at the same time, and they die with it once."""
    order = Order(submitters=6, open_jobs=12, kinds=("chat",), answer_words=60, jobs=form.pick(30, 0))
    load = pair.load("poison among answers", order)
    assert within(20, lambda: load.count(Completed) > 5)
    poison = submit_poison(pair)
    within(60, lambda: pair.http.get(f"/api/v1/jobs/{poison}").json()["state"] in FINAL, 0.1)
    found = pair.http.get(f"/api/v1/jobs/{poison}").json()
    quarantined = pair.heal()
    verdict = pair.judge(load, 120)
    ends = [attempt["ended"] for attempt in found["history"]]
    others = {
        "acknowledged": verdict.acknowledged,
        "poison ended": found["state"],
        "its leases": ", ".join(ends),
        "quarantined": quarantined,
    }
    met = verdict.clean and found["state"] == "dead" and not quarantined
    goal = "dead; lost 0 among answers in the same engine, no worker quarantined"
    table.add(Row("poison: among answers", 1, goal, met, verdict, others))
    assert verdict.clean, verdict.examples
    assert found["state"] == "dead", found
    assert found["crashes"] == ends.count("crashed") == 3
    assert ends.count("crashed_in_company") <= 1
    assert quarantined == 0


@pytest.mark.soak
@pytest.mark.fault("sick_worker")
def test_a_worker_on_which_everything_dies_is_quarantined_and_the_jobs_end_elsewhere(
    pair: FaultGrid, table: Table
) -> None:
    """At first nobody else takes jobs, or placement would hardly come back to where one has crashed."""
    sick = pair.worker("one")
    with Sickness(sick) as sickness:
        with pair.drained("two"):
            load = pair.load("sick worker", Order(submitters=2, open_jobs=4, kinds=("chat",)))
            begun = time.monotonic()
            quarantined = within(40, lambda: bool(pair.listed()[sick.name]["quarantined"]), 0.1)
            after_s = time.monotonic() - begun
            reason = str(pair.listed()[sick.name]["quarantined"])
        acknowledged = load.count(Acknowledged)
        within(20, lambda: load.count(Acknowledged) >= acknowledged + 20, 0.1)
        verdict = pair.judge(load, 90)
    released = pair.heal()
    back = within(10, lambda: not pair.listed()[sick.name]["quarantined"], 0.1)
    others = {
        "quarantined after s": after_s,
        "deaths": sickness.killed,
        "acknowledged": verdict.acknowledged,
        "why": reason,
    }
    met = verdict.clean and quarantined and back
    table.add(Row("sick_worker", 1, "quarantined with its reason, all jobs done elsewhere", met, verdict, others))
    assert quarantined, pair.last_words()
    assert (released, back) == (1, True)
    assert verdict.clean, verdict.examples
