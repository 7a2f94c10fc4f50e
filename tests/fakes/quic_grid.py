"""Both sides of the link seams, writing down what they are told; and a coordinator to talk to, on loopback."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from coordinator.links import WorkerLink
from coordinator.quic.limits import Limits
from coordinator.quic.server import QuicServer, serve_quic
from coordinator.quic.terms import Terms
from gogrid.addresses import Address
from gogrid.identity import Identity, create_identity, issue_leaf
from gogrid.ids import JobId
from gogrid.jointoken import JoinToken, mint
from gogrid.protocol.job_messages import JobMessage
from gogrid.protocol.messages import Assign, Cancel, Drain, Heartbeat, HeartbeatAck, LeaseHeld, Refuse, Welcome
from gogrid.protocol.worker_report import WorkerReport
from runner.link.coordinator_link import CoordinatorLink, Credentials
from runner.session import JobStream
from tests.fakes.directory import MemoryDirectory

NO_LIMITS = Limits(initial_rate=1e6, initial_burst=1e6, strangers_per_network=1000, strangers=1000)


@dataclass
class CoordinatorNotes:
    """Implements `coordinator.links.LinkHandler`."""

    consume: bool = True
    links: list[WorkerLink] = field(default_factory=list)
    reports: list[WorkerReport] = field(default_factory=list)
    refusals: list[Refuse] = field(default_factory=list)
    heartbeats: list[Heartbeat] = field(default_factory=list)
    messages: list[tuple[JobId, int, JobMessage]] = field(default_factory=list)
    unhandled: int = 0
    ended: list[tuple[JobId, int]] = field(default_factory=list)
    disconnects: list[tuple[WorkerLink, str]] = field(default_factory=list)
    suspicions: list[bool] = field(default_factory=list)
    left_for_good: list[bool] = field(default_factory=list)

    def connected(self, link: WorkerLink) -> None:
        self.links.append(link)

    def reported(self, link: WorkerLink, report: WorkerReport) -> None:
        self.reports.append(report)

    def refused(self, link: WorkerLink, refuse: Refuse) -> None:
        self.refusals.append(refuse)

    def heartbeat(self, link: WorkerLink, heartbeat: Heartbeat) -> None:
        self.heartbeats.append(heartbeat)
        link.send(HeartbeatAck(seq=heartbeat.seq))

    def job_message(self, link: WorkerLink, job_id: JobId, epoch: int, message: JobMessage, size: int) -> None:
        self.messages.append((job_id, epoch, message))
        if self.consume:
            link.consumed(job_id, epoch, size)
        else:
            self.unhandled += size

    def job_stream_ended(self, link: WorkerLink, job_id: JobId, epoch: int) -> None:
        self.ended.append((job_id, epoch))

    def disconnected(self, link: WorkerLink, reason: str, *, for_good: bool = False) -> None:
        self.disconnects.append((link, reason))
        self.left_for_good.append(for_good)

    def suspected(self, link: WorkerLink, silent: bool) -> None:
        self.suspicions.append(silent)


@dataclass
class WorkerNotes:
    """Implements `runner.session.SessionHandler`."""

    on_assigned: Callable[[Assign, JobStream], None] | None = None
    welcomes: list[Welcome] = field(default_factory=list)
    assigned_jobs: list[tuple[Assign, JobStream]] = field(default_factory=list)
    cancels: list[Cancel] = field(default_factory=list)
    drains: list[Drain] = field(default_factory=list)
    lost_leases: list[tuple[LeaseHeld, ...]] = field(default_factory=list)
    renewals: list[float] = field(default_factory=list)
    settled_leases: list[tuple[LeaseHeld, ...]] = field(default_factory=list)
    leases: tuple[LeaseHeld, ...] = ()
    disconnects: list[str] = field(default_factory=list)

    def welcomed(self, welcome: Welcome) -> None:
        self.welcomes.append(welcome)

    def assigned(self, assign: Assign, stream: JobStream) -> None:
        self.assigned_jobs.append((assign, stream))
        if self.on_assigned is not None:
            self.on_assigned(assign, stream)

    def cancelled(self, cancel: Cancel) -> None:
        self.cancels.append(cancel)

    def drain(self, drain: Drain) -> None:
        self.drains.append(drain)

    def lost(self, leases: tuple[LeaseHeld, ...]) -> None:
        self.lost_leases.append(leases)

    def renewed(self, sent_at: float) -> None:
        self.renewals.append(sent_at)

    def settled(self, leases: tuple[LeaseHeld, ...]) -> None:
        self.settled_leases.append(leases)

    def held(self) -> tuple[LeaseHeld, ...]:
        return self.leases

    def disconnected(self, reason: str) -> None:
        self.disconnects.append(reason)


@dataclass
class Grid:
    """A coordinator on loopback."""

    identity: Identity
    directory: MemoryDirectory
    notes: CoordinatorNotes
    server: QuicServer

    @property
    def address(self) -> Address:
        return Address("127.0.0.1", self.server.port)

    def token(self, **changes: bool) -> JoinToken:
        token = mint(self.identity.pin, [self.address], int(time.time()) + 3600, **changes)
        self.directory.add_token(token)
        return token

    def credentials(self) -> Credentials:
        """Of a worker that this coordinator knows."""
        key = Ed25519PrivateKey.generate()
        record = self.directory.add_worker(key.public_key().public_bytes_raw(), "test worker")
        return Credentials(record.id, key, self.identity.pin)


@asynccontextmanager
async def coordinator(
    *, limits: Limits = NO_LIMITS, terms: Terms | None = None, identity: Identity | None = None
) -> AsyncIterator[Grid]:
    now = datetime.now(UTC)
    identity = identity or create_identity("test", now)
    directory, notes = MemoryDirectory(time.time()), CoordinatorNotes()
    server = await serve_quic(
        "127.0.0.1",
        0,
        leaf=issue_leaf(identity, ["127.0.0.1"], now),
        directory=directory,
        handler=notes,
        terms=terms or Terms(name="test grid", https_port=8443),
        limits=limits,
    )
    try:
        yield Grid(identity, directory, notes, server)
    finally:
        await server.close()


@asynccontextmanager
async def worker(
    grid: Grid, credentials: Credentials, notes: WorkerNotes, patience_s: float = 10.0
) -> AsyncIterator[CoordinatorLink]:
    """A worker that is connected when this yields."""
    link = CoordinatorLink([grid.address], credentials, notes)
    task = asyncio.create_task(link.run())
    try:
        await wait_until(lambda: bool(notes.welcomes), task, patience_s)
        yield link
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def wait_until(
    condition: Callable[[], bool], task: asyncio.Task[None] | None = None, timeout_s: float = 10.0
) -> None:
    """Let the event loop turn until the condition holds."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            if task is not None and task.done():
                task.result()
            await asyncio.sleep(0.002)
