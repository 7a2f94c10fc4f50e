"""A worker hears before long, and without a packet of its own, that the ends of its jobs are kept."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from coordinator.durable import settling
from coordinator.records import JobRecord, JobState
from gogrid.protocol.messages import Assign, Heartbeat, HeartbeatAck, Settled
from tests.fakes.durable import SCRIPT_DONE, Desk, held, open_desk
from tests.fakes.links import MemoryLink


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(tmp_path) as made:
        yield made


async def ended(desk: Desk, link: MemoryLink) -> JobRecord:
    """A job of which the end is on disk, and its worker has not been told."""
    record = await desk.submit()
    await desk.assigned(link)
    desk.says(link, record, 1, SCRIPT_DONE)
    assert (await desk.jobs.ended(record.id, 30)).state is JobState.DONE
    assert link.settled() == []
    return record


async def test_an_end_that_is_kept_is_told_along_with_the_next_assignment(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "LATER_S", 3600.0)
    link = desk.worker("a")
    record = await ended(desk, link)
    await desk.submit()
    await desk.assigned(link, 2)
    assert [type(message) for message in link.sent[-2:]] == [Assign, Settled]
    assert link.settled() == [held(record, 1)]


async def test_an_end_that_is_kept_is_told_soon_when_nothing_else_is(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "LATER_S", 0.0)
    link = desk.worker("a")
    record = await desk.submit()
    await desk.assigned(link)
    desk.says(link, record, 1, SCRIPT_DONE)
    await desk.until(lambda: link.settled() == [held(record, 1)])


async def test_a_heartbeat_that_names_a_kept_end_is_not_told_that_the_lease_is_lost_before_it_is_told_so(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "LATER_S", 3600.0)
    link = desk.worker("a")
    record = await ended(desk, link)
    desk.dispatcher.heartbeat(link, Heartbeat(seq=2, held=(held(record, 1),)))
    assert [type(message) for message in link.sent[-2:]] == [Settled, HeartbeatAck]
