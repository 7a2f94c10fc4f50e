"""A coordinator's directory in memory, with the promises of the real one."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from coordinator.errors import StoreUnavailableError, TokenRefusedError
from coordinator.records import TokenRecord, WorkerRecord, WorkerStatus
from gogrid.ids import WorkerId, new_worker_id
from gogrid.jointoken import JoinToken


class MemoryDirectory:
    """Implements `coordinator.links.Directory`; a store's latency is one turn of the event loop."""

    def __init__(self, now: float = 0.0) -> None:
        self.workers: dict[WorkerId, WorkerRecord] = {}
        self.tokens: dict[str, TokenRecord] = {}
        self.now = now
        self.made_beside: dict[str, TokenRecord] = {}
        """Tokens that another process has made: known behind the next look."""
        self.looks = 0
        self.hangs = False

    def worker(self, worker_id: WorkerId) -> WorkerRecord | None:
        return self.workers.get(worker_id)

    def token(self, token_id: str) -> TokenRecord | None:
        return self.tokens.get(token_id)

    async def look_again(self) -> None:
        await asyncio.sleep(0)
        self.looks += 1
        if self.hangs:
            raise StoreUnavailableError("The database does not answer.")
        self.tokens |= self.made_beside

    async def redeem(self, token_id: str, public_key: bytes, hostname: str) -> WorkerRecord:
        await asyncio.sleep(0)
        token = self.tokens[token_id]
        for known in self.workers.values():
            if known.public_key == public_key and known.token_id == token_id:
                return known
        if token.uses >= token.max_uses:
            raise TokenRefusedError("This join token was used already; ask the coordinator's admin for a new one.")
        if token.revoked or self.now >= token.expires_at:
            raise TokenRefusedError("This join token has expired; ask the coordinator's admin for a new one.")
        self.tokens[token_id] = replace(token, uses=token.uses + 1)
        status = WorkerStatus.PENDING if token.needs_approval else WorkerStatus.APPROVED
        return self.add_worker(public_key, hostname, status, token_id)

    async def open_session(self, worker_id: WorkerId) -> int:
        await asyncio.sleep(0)
        record = self.workers[worker_id]
        self.workers[worker_id] = replace(record, session_epoch=record.session_epoch + 1)
        return record.session_epoch + 1

    # --- what an admin does

    def add_token(self, token: JoinToken, max_uses: int = 1) -> None:
        self.tokens[token.token_id] = TokenRecord(
            id=token.token_id,
            public_key=token.public_key(),
            label="test",
            created_at=0.0,
            expires_at=float(token.expires_at),
            max_uses=max_uses,
            uses=0,
            needs_approval=token.needs_approval,
            revoked=False,
        )

    def add_worker(
        self, public_key: bytes, name: str, status: WorkerStatus = WorkerStatus.APPROVED, token_id: str = ""
    ) -> WorkerRecord:
        record = WorkerRecord(
            id=new_worker_id(),
            name=name,
            public_key=public_key,
            status=status,
            draining=False,
            session_epoch=0,
            joined_at=self.now,
            token_id=token_id,
        )
        self.workers[record.id] = record
        return record

    def set_status(self, worker_id: WorkerId, status: WorkerStatus) -> None:
        self.workers[worker_id] = replace(self.workers[worker_id], status=status)
