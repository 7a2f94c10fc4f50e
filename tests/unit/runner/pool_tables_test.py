"""What the pool remembers: who waits for which model, what holds memory, and which models are refused for a while."""

import asyncio

from gogrid.ids import Sha256
from gogrid.manifest import ModelManifest
from gogrid.protocol.job_messages import FailCode, Progress
from runner.errors import ModelError
from runner.models.crashes import IN_A_ROW
from runner.serving.refusals import Refusals
from runner.serving.resident import Entries, Entry
from runner.serving.waiting import Waiting

MODEL = Sha256("a" * 64)
MANIFEST = ModelManifest(kind="chat", engine="echo", format="none", context_length=1, width=0, memory_bytes=1, files=())


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def nothing() -> None:
    pass


def test_what_ends_late_takes_no_newer_entry_of_its_model_along() -> None:
    entries, old, new = Entries(), Entry(MODEL, 1, 0.0), Entry(MODEL, 2, 0.0)
    entries.add(old)
    entries.add(new)
    entries.forget(old)
    assert entries[MODEL] is new
    entries.forget(new)
    assert MODEL not in entries


async def test_one_answered_request_forgives_the_crashes_before_it() -> None:
    refusals = Refusals(Clock(), nothing)
    for _ in range(IN_A_ROW - 1):
        refusals.crashed(MODEL, "it died")
    refusals.answered(MODEL)
    refusals.crashed(MODEL, "it died")
    assert refusals.models == ()
    for _ in range(IN_A_ROW - 1):
        refusals.crashed(MODEL, "it died")
    assert [model.digest for model in refusals.models] == [MODEL]
    assert "it died" in str(refusals.error(MODEL))
    refusals.close()


async def test_all_who_wait_for_a_model_are_served_together() -> None:
    waiting, entry = Waiting(Clock(), nothing), Entry(MODEL, 1, 0.0)
    wanted = waiting.want(MODEL, MANIFEST)
    seats = [asyncio.get_running_loop().create_future() for _ in range(2)]
    told: list[Progress] = []
    wanted.waiters.update(dict.fromkeys(seats, told.append))
    assert waiting.want(MODEL, MANIFEST) is wanted
    waiting.serve(entry)
    assert [seat.result() for seat in seats] == [entry, entry]
    assert entry.seats == 2
    assert not waiting


async def test_all_who_wait_for_a_model_fail_together() -> None:
    waiting = Waiting(Clock(), nothing)
    wanted = waiting.want(MODEL, MANIFEST)
    seats = [asyncio.get_running_loop().create_future() for _ in range(2)]
    wanted.waiters.update(dict.fromkeys(seats, lambda progress: None))
    waiting.fail(wanted, error := ModelError("no room", FailCode.NO_ROOM))
    assert [seat.exception() for seat in seats] == [error, error]
    assert not waiting.has(wanted)


def test_a_wanted_model_is_remembered_a_while_after_the_last_who_waited_for_it() -> None:
    clock = Clock()
    waiting = Waiting(clock, nothing)
    wanted = waiting.want(MODEL, MANIFEST)
    clock.now = 14.9
    assert not waiting.give_up(wanted)
    waiting.want(MODEL, MANIFEST)
    clock.now = 29.8
    assert not waiting.give_up(wanted)
    clock.now = 29.9
    assert waiting.give_up(wanted)
    assert MODEL not in waiting
