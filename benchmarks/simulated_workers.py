"""Many workers in one process, over real QUIC: the product's link and session, an echo engine instead of a sandbox.

Promises: each worker has its own key and connection, heartbeats, answers pings, reconnects with the product's back-off
and dials from a loopback address of its own, so that the coordinator's limits per network hold as for real machines.
Model tasks are answered by the echo engine, at once or at a set pace; Python tasks end with exit code 0 and do nothing.

As a module: `enrol` makes keys in a coordinator's store, `Fleet` is the workers. As a program
(`python -m benchmarks.simulated_workers --data FOLDER --n 1000`) it enrols and serves until its standard input ends;
see `benchmarks.simulated_process` for the parent's side of that.
"""

import argparse
import asyncio
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.echo_work import EchoWork
from coordinator.records import TokenRecord, WorkerRecord, WorkerStatus
from coordinator.state.folder import StateFolder
from coordinator.store.sqlite_store import SqliteStore
from gogrid.addresses import Address, parse_address
from gogrid.errors import GoGridError
from gogrid.identity import create_worker_key, load_identity
from gogrid.ids import new_worker_id
from gogrid.jointoken import JoinToken, mint
from gogrid.protocol.worker_session import KeyProof, TokenProof, WorkerEvent
from runner.link.connection import Connection, dial
from runner.link.coordinator_link import CoordinatorLink, Credentials

DIALS_AT_ONCE = 32
"""Real machines have processors of their own: more than these would only wait for ours, and time out."""
_TOKEN_LIFE_S = 3600.0
_NOTICED_S = 1.0
"""After this a running coordinator knows whom the store was told of."""
_FILES_BESIDE_SOCKETS = 64
_ADDRESSES_PER_BLOCK = 250


class Status(msgspec.Struct, frozen=True):
    """What a fleet says of itself."""

    ready: int
    """Workers with an open session."""
    sessions: int
    """Sessions opened since the start, all workers together."""
    answered: int
    """Jobs ended since the start."""
    held: int
    """Jobs at work now."""
    resident_bytes: int
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a simulated worker answers."""

    step_s: float
    """One token of every running request each so many seconds; 0: whole answers at once."""
    slots: int
    """Requests of one model at once."""


_AT_ONCE = Pace(0.0, 32)


class SimulatedWorker:
    """One worker: `run` stays connected until cancelled."""

    def __init__(
        self,
        address: Address,
        credentials: Credentials,
        name: str,
        pace: Pace,
        local_host: str | None,
        turn: asyncio.Semaphore,
    ) -> None:
        """Args: turn: held while dialling."""
        self._local_host, self._turn = local_host, turn
        self._connection: Connection | None = None
        self.work = EchoWork(name, pace.step_s, pace.slots)
        self._link = CoordinatorLink([address], credentials, self.work, self._dial)
        self.work.use(self._link.report)

    async def run(self) -> None:
        """Raises `LinkError` when no retry can help."""
        await self._link.run()

    async def cut(self) -> None:
        """Let the connection go without a word, as a cable that is pulled; the link comes back by itself."""
        if self._connection is not None:
            await self._connection.dispose()

    async def _dial(
        self, address: Address, pin: bytes, proof: KeyProof | TokenProof, on_event: Callable[[WorkerEvent], None]
    ) -> Connection:
        async with self._turn:
            self._connection = await dial(address, pin, proof, on_event, local_host=self._local_host)
        return self._connection


class Fleet:
    """Many simulated workers in the running event loop. Use as an asynchronous context manager."""

    def __init__(
        self,
        address: Address,
        credentials: Sequence[Credentials],
        pace: Pace = _AT_ONCE,
        *,
        one_address: bool = False,
        dials_at_once: int = DIALS_AT_ONCE,
    ) -> None:
        """
        Args:
            one_address: dial from one address, as machines behind one NAT do.
            dials_at_once: handshakes that this process's one processor works on together.
        """
        allow_sockets(len(credentials))
        turn = asyncio.Semaphore(dials_at_once)
        self.workers = [
            SimulatedWorker(
                address, each, f"sim-{number:04}", pace, None if one_address else loopback_host(number), turn
            )
            for number, each in enumerate(credentials)
        ]
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Fleet":
        self._tasks = [asyncio.create_task(worker.run()) for worker in self.workers]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def wait_ready(self, timeout_s: float) -> None:
        """Until every worker has an open session.

        Raises:
            TimeoutError: some have none by then.
            LinkError: a worker was turned away for good.
        """
        async with asyncio.timeout(timeout_s):
            while any(not worker.work.connected for worker in self.workers):
                self.check()
                await asyncio.sleep(0.01)

    def check(self) -> None:
        """Raises `LinkError` if a worker was turned away for good."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def cut(self, count: int | None = None) -> None:
        """Cut the connections of all workers, or of the first `count`, at once and without a word."""
        for worker in self.workers[:count]:
            await worker.cut()

    def status(self) -> Status:
        works = [worker.work for worker in self.workers]
        used = resource.getrusage(resource.RUSAGE_SELF)
        return Status(
            ready=sum(work.connected for work in works),
            sessions=sum(work.sessions for work in works),
            answered=sum(work.answered for work in works),
            held=sum(len(work.held()) for work in works),
            resident_bytes=_resident_bytes(),
            cpu_s=used.ru_utime + used.ru_stime,
        )


async def enrol(folder: StateFolder, count: int) -> list[Credentials]:
    """Make `count` approved workers in the coordinator's store, also beside a running coordinator (which takes notice
    within a second).

    Raises:
        StateError: there is no store, or it cannot be used.
    """
    folder.require()
    pin = load_identity(folder.identity_key, folder.identity_certificate).pin
    now = time.time()
    token = mint(pin, [Address("127.0.0.1", 1)], int(now + _TOKEN_LIFE_S))
    keys = [create_worker_key() for _ in range(count)]
    store = await SqliteStore.open(folder.database)
    try:
        await store.add_token(_token_record(token, count, now))
        newcomers = [_worker_record(key, number, token.token_id, now) for number, key in enumerate(keys)]
        workers = await asyncio.gather(*(store.redeem(token.token_id, worker, now) for worker in newcomers))
    finally:
        await store.close()
    return [Credentials(worker.id, key, pin) for worker, key in zip(workers, keys, strict=True)]


def loopback_host(number: int) -> str | None:
    """An address of this machine that no other worker dials from; None where there is only one such address."""
    if sys.platform != "linux":
        return None
    return f"127.1.{number // _ADDRESSES_PER_BLOCK}.{number % _ADDRESSES_PER_BLOCK + 1}"


def allow_sockets(count: int) -> None:
    """Raise this process's limit of open files as far as it may go, if `count` sockets need it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = count + _FILES_BESIDE_SOCKETS
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(needed, hard), hard))


def _token_record(token: JoinToken, uses: int, now: float) -> TokenRecord:
    return TokenRecord(
        id=token.token_id,
        public_key=token.public_key(),
        label="simulated workers",
        created_at=now,
        expires_at=float(token.expires_at),
        max_uses=uses,
        uses=0,
        needs_approval=False,
        revoked=False,
    )


def _worker_record(key: Ed25519PrivateKey, number: int, token_id: str, now: float) -> WorkerRecord:
    return WorkerRecord(
        id=new_worker_id(),
        name=f"sim-{number:04}",
        public_key=key.public_key().public_bytes_raw(),
        status=WorkerStatus.APPROVED,
        draining=False,
        session_epoch=0,
        joined_at=now,
        token_id=token_id,
    )


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


# --- the program -----------------------------------------------------------------------------------------------------


async def _serve(fleet: Fleet) -> None:
    """Obey the lines of standard input until it ends: `status`, `cut`, `cut N`."""
    loop = asyncio.get_running_loop()
    async with fleet:
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            match line.split():
                case ["status"]:
                    pass
                case ["cut"]:
                    await fleet.cut()
                case ["cut", count]:
                    await fleet.cut(int(count))
                case _:
                    raise ValueError(f"{line!r} is none of: status, cut, cut N")
            fleet.check()
            print(msgspec.json.encode(fleet.status()).decode(), flush=True)


async def _main(args: argparse.Namespace) -> None:
    folder = StateFolder(args.data)
    serving = folder.read_serving()
    if args.address is None and serving is None:
        raise GoGridError(f"No coordinator serves {args.data}; start one, or say where one will be with --address.")
    address = (
        parse_address(args.address, 8443) if args.address else Address("127.0.0.1", serving.port if serving else 0)
    )
    credentials = await enrol(folder, args.n)
    if serving is not None:
        await asyncio.sleep(_NOTICED_S)
    await _serve(
        Fleet(
            address,
            credentials,
            Pace(args.pace_ms / 1000, args.slots),
            one_address=args.one_address,
            dials_at_once=args.dials,
        )
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulated_workers", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the coordinator's state folder")
    parser.add_argument("--n", type=int, default=10, help="how many workers")
    parser.add_argument("--address", metavar="HOST[:PORT]", help="of the coordinator, if none serves the folder yet")
    parser.add_argument("--pace-ms", type=float, default=0.0, help="per token; 0: whole answers at once")
    parser.add_argument("--slots", type=int, default=_AT_ONCE.slots, help="requests of one model at once")
    parser.add_argument("--dials", type=int, default=DIALS_AT_ONCE, help="handshakes at once")
    parser.add_argument("--one-address", action="store_true", help="dial from one address, as behind one NAT")
    args = parser.parse_args()
    try:
        import uvloop
    except ImportError:
        loop_factory = None
    else:
        loop_factory = uvloop.new_event_loop
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(_main(args))
    except GoGridError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
