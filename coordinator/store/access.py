"""Statements about who and what is allowed: tokens, workers, keys, models. Each runs in a transaction that is given."""

from collections.abc import Sequence

import sqlalchemy as sa

from coordinator.errors import ConflictError, NotFoundError, StateError, TokenRefusedError
from coordinator.records import KeyRecord, ModelRecord, TokenRecord, WorkerRecord, WorkerStatus
from coordinator.store.rows import (
    key_record,
    key_values,
    model_record,
    model_values,
    token_record,
    token_values,
    worker_record,
    worker_values,
)
from coordinator.store.sqlite import insert_new
from coordinator.store.tables import api_key, model, token, worker
from gogrid.ids import JobId, KeyId, WorkerId

# --- tokens ----------------------------------------------------------------------------------------------------------


def tokens(connection: sa.Connection) -> list[TokenRecord]:
    rows = connection.execute(sa.select(token).order_by(token.c.created_at, token.c.id))
    return [token_record(row) for row in rows.mappings()]


def add_token(connection: sa.Connection, record: TokenRecord) -> None:
    connection.execute(sa.insert(token).values(token_values(record)))


def revoke_token(connection: sa.Connection, token_id: str) -> None:
    done = connection.execute(sa.update(token).where(token.c.id == token_id).values(revoked=True))
    if done.rowcount == 0:
        raise NotFoundError(f"There is no token {token_id}; `gogrid-coordinator token list` shows them.")


def redeem(connection: sa.Connection, token_id: str, newcomer: WorkerRecord, now: float) -> WorkerRecord:
    """Use the token once and add the worker.

    A worker whose key is enrolled gets its record back and uses nothing: its answer was lost. A revoked worker comes
    back only with another token than the one it came with.
    """
    row = connection.execute(sa.select(worker).where(worker.c.public_key == newcomer.public_key)).mappings().first()
    known = None if row is None else worker_record(row)
    if known is not None and known.status is not WorkerStatus.REVOKED:
        return known
    if known is not None and known.token_id == token_id:
        raise TokenRefusedError("This worker was revoked; ask the admin for a new token.")
    used = connection.execute(
        sa.update(token)
        .where(
            token.c.id == token_id,
            token.c.uses < token.c.max_uses,
            token.c.expires_at > now,
            token.c.revoked == sa.literal(False, token.c.revoked.type),
        )
        .values(uses=token.c.uses + 1)
    )
    if used.rowcount == 0:
        raise TokenRefusedError(_why_refused(connection, token_id, now))
    if known is None:
        connection.execute(sa.insert(worker).values(worker_values(newcomer)))
        return newcomer
    values = {"name": newcomer.name, "status": newcomer.status.value, "token_id": token_id, "draining": False}
    back = connection.execute(sa.update(worker).where(worker.c.id == known.id).values(values).returning(worker))
    return worker_record(back.mappings().one())


def _why_refused(connection: sa.Connection, token_id: str, now: float) -> str:
    row = connection.execute(sa.select(token).where(token.c.id == token_id)).mappings().first()
    if row is None:
        return "This join token is not known here; ask the admin for a new one."
    record = token_record(row)
    if record.revoked:
        return "This join token was revoked; ask the admin for a new one."
    if record.expires_at <= now:
        return "This join token has expired; ask the admin for a new one."
    return "This join token is used up; ask the admin for a new one."


# --- workers ---------------------------------------------------------------------------------------------------------


def workers(connection: sa.Connection) -> list[WorkerRecord]:
    rows = connection.execute(sa.select(worker).order_by(worker.c.joined_at, worker.c.id))
    return [worker_record(row) for row in rows.mappings()]


def set_worker_status(connection: sa.Connection, worker_id: WorkerId, status: WorkerStatus) -> None:
    _change_worker(connection, worker_id, {"status": status.value})


def set_worker_draining(connection: sa.Connection, worker_id: WorkerId, draining: bool) -> None:
    _change_worker(connection, worker_id, {"draining": draining})


def set_worker_health(
    connection: sa.Connection, worker_id: WorkerId, crashed_jobs: Sequence[JobId], quarantined: str
) -> None:
    _change_worker(connection, worker_id, {"crashed_jobs": " ".join(crashed_jobs), "quarantined": quarantined})


def open_session(connection: sa.Connection, worker_id: WorkerId) -> int:
    raised = sa.update(worker).where(worker.c.id == worker_id).values(session_epoch=worker.c.session_epoch + 1)
    epoch = connection.execute(raised.returning(worker.c.session_epoch)).scalar_one_or_none()
    if epoch is None:
        raise NotFoundError(f"There is no worker {worker_id}.")
    return int(epoch)


def _change_worker(connection: sa.Connection, worker_id: WorkerId, values: dict[str, object]) -> None:
    done = connection.execute(sa.update(worker).where(worker.c.id == worker_id).values(values))
    if done.rowcount == 0:
        raise NotFoundError(f"There is no worker {worker_id}; `gogrid-coordinator worker list` shows them.")


# --- keys ------------------------------------------------------------------------------------------------------------


def keys(connection: sa.Connection) -> list[KeyRecord]:
    rows = connection.execute(sa.select(api_key).order_by(api_key.c.created_at, api_key.c.id))
    return [key_record(row) for row in rows.mappings()]


def add_key(connection: sa.Connection, key: KeyRecord) -> None:
    connection.execute(sa.insert(api_key).values(key_values(key)))


def revoke_key(connection: sa.Connection, key_id: KeyId) -> None:
    done = connection.execute(sa.update(api_key).where(api_key.c.id == key_id).values(revoked=True))
    if done.rowcount == 0:
        raise NotFoundError(f"There is no key {key_id}; `gogrid-coordinator key list` shows them.")


# --- models ----------------------------------------------------------------------------------------------------------


def models(connection: sa.Connection) -> list[ModelRecord]:
    return [model_record(row) for row in connection.execute(sa.select(model).order_by(model.c.name)).mappings()]


def add_model(connection: sa.Connection, record: ModelRecord) -> None:
    if connection.execute(insert_new(model).values(model_values(record))).rowcount == 1:
        return
    digest = connection.execute(sa.select(model.c.digest).where(model.c.name == record.name)).scalar_one_or_none()
    if digest is None:
        raise StateError(f"The model {record.name} could not be stored.")
    if digest != record.digest:
        raise ConflictError(
            f"The name {record.name} belongs to another model; choose another with --name, or remove that one first."
        )


def remove_model(connection: sa.Connection, name: str) -> ModelRecord:
    row = connection.execute(sa.delete(model).where(model.c.name == name).returning(model)).mappings().one_or_none()
    if row is None:
        raise NotFoundError(f"There is no model {name}; `gogrid-coordinator model list` shows them.")
    return model_record(row)
