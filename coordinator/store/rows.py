"""Between rows and records; the only place that knows both."""

import msgspec
import sqlalchemy as sa

from coordinator.records import (
    Attempt,
    JobKind,
    JobOutcome,
    JobRecord,
    JobState,
    KeyRecord,
    LeaseEnd,
    LogLine,
    ModelKind,
    ModelRecord,
    Scope,
    TokenRecord,
    WorkerRecord,
    WorkerStatus,
)
from gogrid.ids import JobId, KeyId, Sha256, WorkerId
from gogrid.protocol.tasks import Task

Values = dict[str, object]
"""Column values of one row."""

_task_decoder = msgspec.msgpack.Decoder(Task)


def encode_task(task: Task) -> bytes:
    return msgspec.msgpack.encode(task)


def token_values(token: TokenRecord) -> Values:
    return {
        "id": token.id,
        "public_key": token.public_key,
        "label": token.label,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "max_uses": token.max_uses,
        "uses": token.uses,
        "needs_approval": token.needs_approval,
        "revoked": token.revoked,
    }


def token_record(row: sa.RowMapping) -> TokenRecord:
    return TokenRecord(
        id=row["id"],
        public_key=row["public_key"],
        label=row["label"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        max_uses=row["max_uses"],
        uses=row["uses"],
        needs_approval=bool(row["needs_approval"]),
        revoked=bool(row["revoked"]),
    )


def worker_values(worker: WorkerRecord) -> Values:
    return {
        "id": worker.id,
        "name": worker.name,
        "public_key": worker.public_key,
        "status": worker.status.value,
        "draining": worker.draining,
        "session_epoch": worker.session_epoch,
        "joined_at": worker.joined_at,
        "token_id": worker.token_id,
        "quarantined": worker.quarantined,
        "crashed_jobs": " ".join(worker.crashed_jobs),
    }


def worker_record(row: sa.RowMapping) -> WorkerRecord:
    return WorkerRecord(
        id=WorkerId(row["id"]),
        name=row["name"],
        public_key=row["public_key"],
        status=WorkerStatus(row["status"]),
        draining=bool(row["draining"]),
        session_epoch=row["session_epoch"],
        joined_at=row["joined_at"],
        token_id=row["token_id"],
        quarantined=row["quarantined"],
        crashed_jobs=tuple(JobId(job_id) for job_id in row["crashed_jobs"].split()),
    )


def key_values(key: KeyRecord) -> Values:
    return {
        "id": key.id,
        "name": key.name,
        "secret_sha256": key.secret_sha256,
        "scopes": " ".join(sorted(scope.value for scope in key.scopes)),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked": key.revoked,
    }


def key_record(row: sa.RowMapping) -> KeyRecord:
    return KeyRecord(
        id=KeyId(row["id"]),
        name=row["name"],
        secret_sha256=row["secret_sha256"],
        scopes=frozenset(Scope(scope) for scope in row["scopes"].split()),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked=bool(row["revoked"]),
    )


def model_values(model: ModelRecord) -> Values:
    return {
        "name": model.name,
        "digest": model.digest,
        "kind": model.kind.value,
        "engine": model.engine,
        "size_bytes": model.size_bytes,
        "memory_bytes": model.memory_bytes,
        "context_length": model.context_length,
        "width": model.width,
        "added_at": model.added_at,
        "kv_token_bytes": model.kv_token_bytes,
    }


def model_record(row: sa.RowMapping) -> ModelRecord:
    return ModelRecord(
        name=row["name"],
        digest=Sha256(row["digest"]),
        kind=ModelKind(row["kind"]),
        engine=row["engine"],
        size_bytes=row["size_bytes"],
        memory_bytes=row["memory_bytes"],
        context_length=row["context_length"],
        width=row["width"],
        added_at=row["added_at"],
        kv_token_bytes=row["kv_token_bytes"],
    )


def job_record(row: sa.RowMapping) -> JobRecord:
    state = JobState(row["state"])
    return JobRecord(
        id=JobId(row["id"]),
        owner=KeyId(row["owner"]),
        kind=JobKind(row["kind"]),
        label=row["label"],
        state=state,
        epoch=row["epoch"],
        worker=None if row["worker"] is None else WorkerId(row["worker"]),
        attempts=row["attempts"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        task=None if row["task"] is None else _task_decoder.decode(row["task"]),
        outcome=JobOutcome(state, row["result"], row["error_code"], row["error"]) if state.final else None,
        priority=row["priority"],
        not_before=row["not_before"],
        crashes=row["crashes"],
    )


def attempt_record(row: sa.RowMapping) -> Attempt:
    return Attempt(
        job_id=JobId(row["job_id"]),
        epoch=row["epoch"],
        worker=WorkerId(row["worker"]),
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        ended=LeaseEnd(row["ended"]),
        why=row["why"],
    )


def log_line(row: sa.RowMapping) -> LogLine:
    return LogLine(seq=row["seq"], stream=row["stream"], data=row["data"])
