"""Half-streamed answers whose worker is killed, frozen, cut off or drained: the client notices nothing."""

import random
import time

import pytest

from tests.faults.checker import streams
from tests.faults.client_log import Streamed
from tests.faults.conftest import Form, full_form
from tests.faults.faultgrid import FaultGrid, within
from tests.faults.figures import Row, Table, percentile
from tests.faults.impairment import BLACKHOLE
from tests.faults.load import Order

pytestmark = pytest.mark.sandbox

_PAUSE_S = {"kill": 1.5, "freeze": 2.5, "partition": 2.5, "drain": 0.3}
"""Longest silence a client may see, p99."""
_LOAD = Order(streams=6, stream_words=80, stream_delay_ms=20)


def hurt(pair: FaultGrid, fault: str, name: str) -> None:
    worker, session = pair.worker(name), pair.session(name)
    if fault == "kill":
        worker.kill()
        worker.start()
        pair.wait_back(name, session)
    elif fault == "freeze":
        worker.freeze()
        time.sleep(2.5)
        worker.thaw()
    elif fault == "partition":
        pair.proxies[name].conditions(BLACKHOLE, BLACKHOLE)
        time.sleep(2.5)
        pair.proxies[name].conditions()
    else:
        with pair.drained(name):
            time.sleep(0.5)


def warm(pair: FaultGrid) -> None:
    """Have the model loaded on both: one that has not must take the other's answers for a moment."""
    for name, other in (("one", "two"), ("two", "one")):
        if not pair.listed()[name]["models"]:
            with pair.drained(other):
                assert within(20, lambda: bool(pair.listed()[name]["models"])), pair.listed()  # noqa: B023
                time.sleep(0.3)


def busiest(pair: FaultGrid) -> str:
    """The worker with the most answers under way, once there is one with some."""

    def counts() -> dict[str, int]:
        return {name: int(str(worker["running"])) for name, worker in pair.listed().items()}

    assert within(10, lambda: max(counts().values(), default=0) > 0)
    running = counts()
    return max(running, key=running.__getitem__)


@pytest.mark.fault("stream")
@pytest.mark.parametrize("fault", full_form(_PAUSE_S, keep=("kill", "drain")))
def test_a_streamed_answer_survives_its_worker(pair: FaultGrid, form: Form, table: Table, fault: str) -> None:
    times, luck = form.pick(1, 10), random.Random(4)
    load, hurt_at = pair.load(f"stream {fault}", _LOAD), list[float]()
    assert within(20, lambda: load.count(Streamed) >= 2), pair.last_words()
    for _ in range(times):
        warm(pair)
        time.sleep(luck.uniform(0.2, 0.7))
        name = busiest(pair)
        hurt_at.append(time.time())
        hurt(pair, fault, name)
        pair.wait_ready(seconds=60)
        time.sleep(0.5)
    answers = streams(load.finish(20))
    broken = [answer for answer in answers if not answer.ok]
    pauses = [
        answer.pause_s for answer in answers if any(answer.at - answer.seconds < at < answer.at for at in hurt_at)
    ]
    others = {
        "answers": len(answers),
        "broken": len(broken),
        "under way then": len(pauses),
        "pause p50 s": percentile(pauses, 0.5),
        "pause p99 s": percentile(pauses, 0.99),
        "pause max s": max(pauses),
    }
    goal = f"0 broken, pause p99 at most {_PAUSE_S[fault]} s"
    met = not broken and percentile(pauses, 0.99) <= _PAUSE_S[fault]
    table.add(Row(f"stream: {fault}", times, goal, met, None, others))
    assert not broken, [answer.why for answer in broken[:3]]
    slack = form.pick(3, 1)  # one fault among a whole run of tests: is it of the right order?
    assert percentile(pauses, 0.99) <= slack * _PAUSE_S[fault]
