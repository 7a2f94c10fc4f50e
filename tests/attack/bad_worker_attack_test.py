"""Threat 24: one enrolled worker misbehaves at the coordinator; ten good ones hardly notice."""

import asyncio
import statistics
import time
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest

from gogrid.ids import JobId, Sha256
from gogrid.protocol.codec import encode_framed
from gogrid.protocol.job_messages import Finished, PythonDone
from gogrid.protocol.messages import Assign, Heartbeat
from gogrid.protocol.tasks import InputFile, PythonTask
from runner.link.coordinator_link import CoordinatorLink
from runner.session import JobStream
from tests.fakes.quic_grid import Grid, WorkerNotes, coordinator, wait_until, worker

_GOOD, _ROUNDS, _TRIES = 10, 40, 3
_UNNOTICED_S = 0.02
"""An answer within this is as good as at once: all eleven workers and the coordinator share one thread here."""
_TASK = PythonTask(files=(InputFile(name="m", sha256=Sha256("0" * 64), size=0),), entry="m")
_DONE = Finished(result=PythonDone(exit_code=0, ended="ok"))


def _frames(link: CoordinatorLink) -> None:
    _write(link, encode_framed(Heartbeat(seq=1)) * 500)


def _giant_frame(link: CoordinatorLink) -> None:
    _write(link, (1 << 31).to_bytes(4, "big") + bytes(64 << 10))


def _nonsense(link: CoordinatorLink) -> None:
    _write(link, b"\0\0\0\x10" + b"\xc1" * 16)


def _bytes_nobody_asked_for(link: CoordinatorLink) -> None:
    if link._connection is not None:
        stream = link._connection.open_job_stream("job_nobody_gave_it", 1)
        if stream is not None:
            link._connection._quic.send_stream_data(stream, bytes(256 << 10))
            link._connection._flush()


def _write(link: CoordinatorLink, data: bytes) -> None:
    """On the control stream, past all that an honest link would check."""
    if link._connection is not None:
        link._connection._quic.send_stream_data(0, data)
        link._connection._flush()


ATTACKS: dict[str, tuple[Callable[[CoordinatorLink], None], str]] = {
    "flood of frames": (_frames, "control messages per second"),
    "giant frame": (_giant_frame, "A frame of 2147483648 bytes"),
    "nonsense": (_nonsense, "Not a message"),
    "bytes nobody asked for": (_bytes_nobody_asked_for, "A frame of 0 bytes"),
}
"""What the worker does, and why it is shown out."""


@pytest.mark.parametrize("attack", ATTACKS)
async def test_one_bad_worker_among_ten_good_ones(attack: str) -> None:
    def answer(assign: Assign, stream: JobStream) -> None:
        stream.send(_DONE)

    async with coordinator() as grid, AsyncExitStack() as stack:
        for _ in range(_GOOD):
            await stack.enter_async_context(worker(grid, grid.credentials(), WorkerNotes(on_assigned=answer)))
        good = list(grid.notes.links)
        bad = await stack.enter_async_context(worker(grid, grid.credentials(), WorkerNotes()))
        seen = []
        for _ in range(_TRIES):
            calm = await _p99(grid, good)
            attacking = asyncio.create_task(_keep(ATTACKS[attack][0], bad))
            shaken = await _p99(grid, good)
            attacking.cancel()
            await asyncio.wait((attacking,))
            seen.append((calm, shaken))
            if shaken <= max(2 * calm, _UNNOTICED_S):
                break
        else:
            pytest.fail(f"p99 of the good without and with the bad one: {seen}")
        assert not [link for link, _ in grid.notes.disconnects if link in good]
        reasons = {reason for _, reason in grid.notes.disconnects}
        assert any(ATTACKS[attack][1] in reason for reason in reasons), reasons


async def _keep(attack: Callable[[CoordinatorLink], None], bad: CoordinatorLink) -> None:
    while True:
        attack(bad)
        await asyncio.sleep(0.005)


async def _p99(grid: Grid, good: list) -> float:  # type: ignore[type-arg]
    """Of the seconds from an assignment to its end."""
    taken = []
    for number in range(_ROUNDS):
        for link in good:
            job = JobId(f"job_{time.monotonic_ns()}_{number}")
            began = time.monotonic()
            link.send(Assign(job_id=job, epoch=1, task=_TASK))
            await wait_until(lambda: any(said[0] == job for said in grid.notes.messages[-20:]))  # noqa: B023
            taken.append(time.monotonic() - began)
    return statistics.quantiles(taken, n=100)[98]
