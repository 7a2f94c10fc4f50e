"""A coordinator without workers: the real seams (`Requests`, `Jobs`, `LiveState`, `Keyring`, `Catalogue`, `Store`'s job
verbs) in memory, answering from scripts. Time passes only where a script says so."""

import asyncio
import contextlib
import hmac
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import msgspec

from coordinator.errors import ConflictError, CoordinatorError, KeyRefusedError, UnknownModelError
from coordinator.http.app import create_app
from coordinator.http.server import HttpServer, Listen
from coordinator.http.services import Limits, Services
from coordinator.interactive.loading import Wait
from coordinator.records import (
    Attempt,
    JobKind,
    JobOutcome,
    JobRecord,
    JobState,
    KeyRecord,
    LogLine,
    ModelKind,
    ModelRecord,
    Scope,
    WorkerRecord,
    WorkerStatus,
)
from coordinator.state.blobs import BlobStore
from coordinator.store.base import Store
from coordinator.tickets import DEFAULT_WAIT, Answer, Submission, Waiting
from coordinator.views import Statistics, WorkerView
from gogrid.ids import JobId, KeyId, Sha256, WorkerId, new_job_id
from gogrid.protocol.job_messages import (
    EmbeddingDone,
    Finished,
    PythonDone,
    Started,
    TextDone,
    TokenLogprob,
    Tokens,
    Vectors,
)
from gogrid.protocol.tasks import ChatTask, CompletionTask, EmbeddingTask, PythonTask, ResumeMode

USER, OTHER, ADMIN = "ggk_user", "ggk_other", "ggk_admin"
INFERENCE_ONLY, JOBS_ONLY, EXPIRED = "ggk_inference", "ggk_jobs", "ggk_expired"
TICKET = "ticket-of-worker-one"
WORKER = WorkerId("wk_0000000000000001")
CHAT, EMBED = "echo", "tiny-embed"
WIDTH = 4

Task = ChatTask | CompletionTask | EmbeddingTask
Step = Answer | float | CoordinatorError
"""What a script says: something to answer, seconds to wait, or how to fail."""
Script = Callable[[Task, int], Sequence[Step]]
"""From a task and how many were submitted before it."""


def echo(task: Task, _number: int) -> Sequence[Step]:
    """Says the last message back, word by word; embeds a text as its length."""
    if isinstance(task, EmbeddingTask):
        return embed(task)
    text = task.messages[-1].content if isinstance(task, ChatTask) else task.prompt
    words = text.split(" ") if isinstance(text, str) else [f"t{token}" for token in text]
    pieces = [word if at == 0 else " " + word for at, word in enumerate(words)]
    limit = task.sampling.max_tokens or len(pieces)
    shown = pieces[:limit]
    tokens = [
        Tokens(seq=at, text=piece, token_ids=(at,), logprobs=_logprobs(piece, at, task.sampling.logprobs))
        for at, piece in enumerate(shown)
    ]
    reason = "stop" if len(shown) == len(pieces) else "length"
    done = TextDone(
        finish_reason=cast("object", reason),  # type: ignore[arg-type]
        prompt_tokens=len(pieces),
        completion_tokens=len(shown),
    )
    return [Started(device="cpu"), *tokens, Finished(result=done)]


def _logprobs(piece: str, at: int, top: int) -> tuple[TokenLogprob, ...]:
    if top < 0:
        return ()
    likeliest = tuple((f"{piece}{n}", n, -float(n + 1)) for n in range(top))
    return (TokenLogprob(token=piece, token_id=at, logprob=-0.5, top=likeliest),)


def embed(task: EmbeddingTask) -> Sequence[Step]:
    rows = [struct.pack(f"<{WIDTH}f", len(text), 0.5, -1.0, 0.1) for text in task.inputs]
    middle = len(rows) // 2
    return [
        Started(device="cpu"),
        Vectors(first=middle, width=WIDTH, data=b"".join(rows[middle:])),
        Vectors(first=0, width=WIDTH, data=b"".join(rows[:middle])),
        Finished(result=EmbeddingDone(width=WIDTH, prompt_tokens=sum(len(text) for text in task.inputs))),
    ]


def paced(chunks: int, seconds: float) -> Script:
    """`chunks` tokens, each after `seconds`."""

    def script(_task: Task, _number: int) -> Sequence[Step]:
        steps: list[Step] = [Started(device="cpu")]
        for at in range(chunks):
            steps += [seconds, Tokens(seq=at, text=" word", token_ids=(at,))]
        done = TextDone(finish_reason="stop", prompt_tokens=3, completion_tokens=chunks)
        return [*steps, Finished(result=done)]

    return script


class FakeTicket:
    def __init__(self, task: Task, steps: Sequence[Step]) -> None:
        self.job_id = new_job_id()
        self.worker_id: WorkerId | None = WORKER
        self.waiting_for: tuple[str, ...] = ()
        self.task = task
        self.cancelled = asyncio.Event()
        self.reason = ""
        self.ended = False
        self._steps = steps

    async def answers(self) -> AsyncIterator[Answer]:
        for step in self._steps:
            if isinstance(step, CoordinatorError):
                self.ended = True
                raise step
            if isinstance(step, float | int):
                await asyncio.sleep(step)
            else:
                yield step
        self.ended = True

    def cancel(self, reason: str) -> None:
        if not self.ended:
            self.reason = reason
            self.cancelled.set()


class FakeRequests:
    def __init__(self) -> None:
        self.script: Script = echo
        self.refusal: CoordinatorError | None = None
        self.refuse_after = 0
        self.waiting_for: tuple[str, ...] = ()
        """Why no worker has what is asked from now on."""
        self.tickets: list[FakeTicket] = []
        self.modes: list[ResumeMode] = []
        self.waits: list[Wait] = []
        self.submitted = asyncio.Event()

    def submit(
        self,
        key: KeyRecord,
        model: ModelRecord,
        task: Task,
        mode: ResumeMode = ResumeMode.FAST,
        wait: Wait = DEFAULT_WAIT,
    ) -> FakeTicket:
        self.modes.append(mode)
        self.waits.append(wait)
        if self.refusal is not None and len(self.tickets) >= self.refuse_after:
            raise self.refusal
        ticket = FakeTicket(task, self.script(task, len(self.tickets)))
        ticket.waiting_for = self.waiting_for
        self.tickets.append(ticket)
        self.submitted.set()
        return ticket


_KINDS: dict[type, JobKind] = {
    ChatTask: JobKind.CHAT,
    CompletionTask: JobKind.COMPLETION,
    EmbeddingTask: JobKind.EMBEDDING,
    PythonTask: JobKind.PYTHON,
}


class FakeJobs:
    """Jobs that wait until a test says what becomes of them; also the store's verbs on jobs."""

    def __init__(self) -> None:
        self.records: dict[JobId, JobRecord] = {}
        self.lines: dict[JobId, list[LogLine]] = {}
        self.submitted_tasks: list[PythonTask] = []
        self.refusal: CoordinatorError | None = None
        self.ended_attempts: dict[JobId, list[Attempt]] = {}
        self._keys: dict[tuple[KeyId, str], tuple[JobId, str]] = {}
        self._changed = asyncio.Condition()

    async def submit(self, key: KeyRecord, submission: Submission) -> tuple[JobRecord, bool]:
        if self.refusal is not None:
            raise self.refusal
        once, body = submission.idempotency_key, submission.body_sha256
        if once is not None and (key.id, once) in self._keys:
            job_id, same = self._keys[(key.id, once)]
            if body != same:
                raise ConflictError("This Idempotency-Key was used with another body.")
            return self.records[job_id], False
        record = self.add(key.id, _KINDS[type(submission.task)], submission.label, submission.task)
        record = self.records[record.id] = replace(record, priority=submission.priority)
        if isinstance(submission.task, PythonTask):
            self.submitted_tasks.append(submission.task)
        if once is not None:
            self._keys[(key.id, once)] = (record.id, body)
        return record, True

    async def submit_all(self, key: KeyRecord, submissions: Sequence[Submission]) -> list[tuple[JobRecord, bool]]:
        return [await self.submit(key, submission) for submission in submissions]

    async def revive(self, job_id: JobId) -> JobRecord:
        record = self.records[job_id]
        if record.state not in (JobState.DEAD, JobState.FAILED):
            raise ConflictError(f"Only a dead or failed job can be tried again; this one is {record.state.value}.")
        self.records[job_id] = replace(record, state=JobState.QUEUED, outcome=None, finished_at=None)
        return self.records[job_id]

    def add(self, owner: KeyId, kind: JobKind, label: str, task: Task | PythonTask | None) -> JobRecord:
        record = JobRecord(
            id=new_job_id(), owner=owner, kind=kind, label=label, state=JobState.QUEUED, epoch=0, worker=None,
            attempts=0, created_at=1000.0 + len(self.records), started_at=None, finished_at=None, task=task,
            outcome=None,
        )  # fmt: skip
        self.records[record.id] = record
        self.lines[record.id] = []
        return record

    async def write(self, job_id: JobId, stream: str, data: bytes) -> None:
        lines = self.lines[job_id]
        lines.append(LogLine(len(lines) + 1, stream, data))
        async with self._changed:
            self._changed.notify_all()

    async def end(self, job_id: JobId, done: PythonDone) -> JobRecord:
        outcome = JobOutcome(JobState.DONE, msgspec.msgpack.encode(done))
        self.records[job_id] = replace(self.records[job_id], state=JobState.DONE, outcome=outcome, finished_at=2000.0)
        async with self._changed:
            self._changed.notify_all()
        return self.records[job_id]

    async def cancel(self, job_id: JobId) -> JobRecord:
        record = self.records[job_id]
        if not record.state.final:
            outcome = JobOutcome(JobState.CANCELLED, b"", "cancelled", "Cancelled by its owner.")
            record = self.records[job_id] = replace(record, state=JobState.CANCELLED, outcome=outcome)
            async with self._changed:
                self._changed.notify_all()
        return record

    async def follow(self, job_id: JobId, after: int) -> AsyncIterator[LogLine | JobRecord]:
        while True:
            for line in self.lines[job_id][after:]:
                after = line.seq
                yield line
            if self.records[job_id].state.final:
                yield self.records[job_id]
                return
            async with self._changed:
                await self._changed.wait()

    async def ended(self, job_id: JobId, wait_s: float) -> JobRecord:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s), self._changed:
                await self._changed.wait_for(lambda: self.records[job_id].state.final)
        return self.records[job_id]

    def waiting(self, job_id: JobId) -> Waiting | None:
        queued = [record.id for record in self.records.values() if record.state is JobState.QUEUED]
        return Waiting(queued.index(job_id), ("no worker is connected",)) if job_id in queued else None

    async def job(self, job_id: JobId) -> JobRecord | None:
        return self.records.get(job_id)

    async def jobs(
        self,
        owner: KeyId | None,
        states: Sequence[JobState],
        kinds: Sequence[JobKind],
        limit: int,
        after: JobId | None = None,
    ) -> list[JobRecord]:
        newest = list(reversed(self.records.values()))
        found = [
            record
            for record in newest[newest.index(self.records[after]) + 1 if after else 0 :]
            if (owner is None or record.owner == owner)
            and (not states or record.state in states)
            and (not kinds or record.kind in kinds)
        ]
        return found[:limit]

    async def job_ids(self, beginning: str, owner: KeyId | None, limit: int) -> list[JobId]:
        found = [job_id for job_id, record in self.records.items() if owner in (None, record.owner)]
        return [job_id for job_id in sorted(found) if job_id.startswith(beginning)][:limit]

    async def attempts(self, job_id: JobId) -> list[Attempt]:
        return self.ended_attempts.get(job_id, [])

    async def logs(self, job_id: JobId, after: int, limit: int) -> list[LogLine]:
        return self.lines[job_id][after : after + limit]


class FakeLive:
    def __init__(self) -> None:
        self.missing: list[str] = []
        self.fetchable: set[str] = set()
        self.room = 0
        record = WorkerRecord(WORKER, "one", b"\0" * 32, WorkerStatus.APPROVED, False, 1, 1000.0, "t" * 16)
        self.views = [WorkerView(record, True, False, "203.0.113.7:51820", 1000.0, None, (), (CHAT,))]

    def workers(self) -> list[WorkerView]:
        return self.views

    def worker_name(self, worker_id: WorkerId) -> str:
        return next((view.record.name for view in self.views if view.record.id == worker_id), worker_id)

    def holder_of_ticket(self, ticket: str) -> WorkerId | None:
        return WORKER if ticket == TICKET else None

    def may_fetch(self, worker_id: WorkerId, sha256: str) -> bool:
        return sha256 in self.fetchable

    def may_store(self, worker_id: WorkerId) -> int:
        return self.room

    def stored(self, worker_id: WorkerId, size: int) -> None:
        self.room -= size

    def unready(self) -> list[str]:
        return self.missing

    def statistics(self) -> Statistics:
        return Statistics(1, 2, 3, 4, 5, 6, 7, 8)


class FakeKeyring:
    def __init__(self) -> None:
        both = frozenset({Scope.INFERENCE, Scope.JOBS})
        self.keys = {
            USER: _key("key_user", both),
            OTHER: _key("key_other", both),
            ADMIN: _key("key_admin", frozenset({Scope.ADMIN})),
            INFERENCE_ONLY: _key("key_inference", frozenset({Scope.INFERENCE})),
            JOBS_ONLY: _key("key_jobs", frozenset({Scope.JOBS})),
        }

    def authenticate(self, bearer: str, now: float) -> KeyRecord:
        found = [key for known, key in self.keys.items() if hmac.compare_digest(known, bearer)]  # str: ASCII only
        if not found:
            raise KeyRefusedError("This API key is unknown, expired or revoked.")
        return found[0]


def _key(name: str, scopes: frozenset[Scope]) -> KeyRecord:
    return KeyRecord(KeyId(name), name, b"\0" * 32, scopes, 1000.0, None, False)


class FakeCatalogue:
    def __init__(self) -> None:
        digest = Sha256("ab" * 32)
        self.records = [
            ModelRecord(CHAT, digest, ModelKind.CHAT, "echo", 10, 100, 512, 0, 1000.5),
            ModelRecord("org/chat-b", digest, ModelKind.CHAT, "echo", 10, 100, 512, 0, 1000.5),
            ModelRecord(EMBED, digest, ModelKind.EMBEDDING, "echo", 10, 100, 512, WIDTH, 1000.5),
        ]

    def models(self) -> list[ModelRecord]:
        return self.records

    def model(self, name: str) -> ModelRecord:
        for record in self.records:
            if record.name == name:
                return record
        raise UnknownModelError(f"There is no model {name[:80]!r} here.")


@dataclass
class Backend:
    """All fakes together, and the `Services` made of them."""

    folder: Path
    limits: Limits = field(default_factory=Limits)
    requests: FakeRequests = field(default_factory=FakeRequests)
    jobs: FakeJobs = field(default_factory=FakeJobs)
    live: FakeLive = field(default_factory=FakeLive)
    keyring: FakeKeyring = field(default_factory=FakeKeyring)
    catalogue: FakeCatalogue = field(default_factory=FakeCatalogue)

    def __post_init__(self) -> None:
        self.blobs = BlobStore(self.folder / "blobs")

    @property
    def services(self) -> Services:
        return Services(
            requests=self.requests,
            jobs=self.jobs,
            store=cast("Store", self.jobs),  # of the store's verbs, HTTP uses those on jobs only
            live=self.live,
            keyring=self.keyring,
            catalogue=self.catalogue,
            blobs=self.blobs,
            identity_pem=b"-----BEGIN CERTIFICATE-----\n",
            name="test grid",
            limits=self.limits,
            clock=lambda: 1_700_000_000.0,
        )


@asynccontextmanager
async def serving(backend: Backend) -> AsyncIterator[str]:
    """The real app on a real server on loopback; yields its address."""
    server = HttpServer(create_app(backend.services), tls=None, plain=Listen("127.0.0.1", 0))
    await server.start()
    try:
        yield f"http://127.0.0.1:{server.ports[0]}"
    finally:
        await server.stop(0)
