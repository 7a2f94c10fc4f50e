"""The coordinator as one process: builds every part, runs them in one event loop, ends them in order.

Promises: nothing is accepted before the state is whole and every unfinished job is known; on SIGTERM or SIGINT new
requests are refused, streams get `STOP_GRACE_S` to end, workers are told, and what is write-behind is written.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from coordinator.config import CoordinatorConfig
from coordinator.directory import Directory, DirectoryChange
from coordinator.dispatch.dispatcher import Dispatcher
from coordinator.dispatch.scheduler import Scheduler
from coordinator.durable.jobs import DurableJobs
from coordinator.durable.keeping import Clocks
from coordinator.durable.quota import DurableLimits
from coordinator.durable.sick_workers import SickWorkers
from coordinator.errors import CoordinatorError, StateError
from coordinator.http.app import create_app
from coordinator.http.server import HttpServer, Listen
from coordinator.http.services import Services
from coordinator.interactive.desk import InteractiveRequests, RequestLimits
from coordinator.live import Live
from coordinator.local_channel import LocalChannel
from coordinator.quic.server import QuicServer, serve_quic
from coordinator.quic.terms import Terms
from coordinator.releases.shelf import Shelf
from coordinator.releases.store import ReleaseStore
from coordinator.state.blobs import BlobStore
from coordinator.state.folder import Serving, StateFolder
from coordinator.state.retention import INTERVAL_S, tidy
from coordinator.store.sqlite_store import SqliteStore
from coordinator.tally import Tally
from gogrid.errors import CloseCode
from gogrid.identity import Identity, Leaf, issue_leaf, load_identity, save_leaf, server_context

log = logging.getLogger("gogrid.coordinator")

STOP_GRACE_S = 5.0
"""How long streams may go on after a stop was asked for."""
_LAST_WORDS_S = 1.0
_TICK_S = 0.25
_TIDY_RETRY_S = 60.0
_LEAF_CHECK_S = 6 * 3600.0
_COLLECT_AFTER = 20_000
"""New objects between two looks for dead cycles. With Python's 700 they took a tenth of what a busy coordinator has."""


def run(config: CoordinatorConfig) -> None:
    """Serve until told to stop; the whole program of `gogrid-coordinator serve`.

    Raises:
        CoordinatorError: the state folder, the database or an address cannot be used.
    """
    logging.basicConfig(
        level=config.log_level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(serve(config))


async def serve(config: CoordinatorConfig) -> None:
    """Like `run`, in the running loop."""
    config.folder.require()
    lock = config.folder.lock()
    stop = asyncio.Event()
    _on_stop_signals(stop.set)  # before anybody is told that it is ready
    try:
        async with _started(config) as parts:
            _spare_the_collector()
            await _until_stopped(parts, stop)
            log.info("stopping")
    finally:
        config.folder.serve_file.unlink(missing_ok=True)
        lock.release()


def _spare_the_collector() -> None:
    """What there is now stays until the end: never look through it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)


@dataclass(frozen=True, slots=True)
class _Parts:
    config: CoordinatorConfig
    identity: Identity
    store: SqliteStore
    blobs: BlobStore
    directory: Directory
    dispatcher: Dispatcher
    live: Live
    shelf: Shelf
    http: HttpServer
    quic: QuicServer
    tls: ssl.SSLContext


@contextlib.asynccontextmanager
async def _started(config: CoordinatorConfig) -> AsyncIterator[_Parts]:
    folder = config.folder
    identity = load_identity(folder.identity_key, folder.identity_certificate)
    leaf, tls = _fresh_leaf(identity, config)
    blobs = BlobStore(folder.blobs)
    blobs.remove_leftovers(time.time())
    store = await SqliteStore.open(folder.database)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(store.close)
        directory = await Directory.load(store, time.time)
        tally = Tally()
        dispatcher = Dispatcher(Scheduler(config.lease_s), time.monotonic, time.time, return_s=config.lease_s)
        dispatcher.enrolled = directory.enrolled
        limits = RequestLimits(config.queue_length, config.key_concurrency, config.patience_s, config.longest_wait_s)
        requests = InteractiveRequests(dispatcher, store, limits, tally, time.time)
        health = SickWorkers(directory, dispatcher.set_quarantined)
        stack.push_async_callback(health.close)
        limits_of_jobs, clocks = DurableLimits(config.jobs, config.jobs_per_key), Clocks(time.monotonic, time.time)
        jobs = DurableJobs(dispatcher, store, blobs, directory.catalogue, health, limits_of_jobs, tally, clocks)
        stack.push_async_callback(jobs.close)
        live = Live(directory, dispatcher, blobs, tally)
        live.learn_models(directory.catalogue.models())
        shelf = Shelf(ReleaseStore(folder))
        shelf.refresh()
        recovered = await jobs.recover()
        if recovered:
            log.info("%d jobs are unfinished; workers have %.0f s to come back with theirs", recovered, config.lease_s)
        services = Services(
            requests=requests,
            jobs=jobs,
            store=store,
            live=live,
            keyring=directory.keyring,
            catalogue=directory.catalogue,
            blobs=blobs,
            identity_pem=identity.pem,
            name=config.name,
            releases=shelf,
            look_again=directory.look_again,
        )
        plain = Listen("127.0.0.1", config.loopback_http_port) if config.loopback_http_port else None
        http = HttpServer(create_app(services), tls=Listen(config.host, config.port), context=tls, plain=plain)
        await http.start()
        try:
            quic = await _listen_for_workers(config, http.ports[0], leaf, directory, dispatcher)
        except StateError:
            await http.stop(0)
            raise
        # Streams may end while the workers that feed them are still there.
        stack.push_async_callback(quic.close)
        stack.push_async_callback(_stop_answering, http, requests)
        channel = LocalChannel(folder.admin_socket, live)
        await channel.open()
        stack.push_async_callback(channel.close)
        directory.subscribe(lambda change: _tell_workers(change, dispatcher))
        live.set_unready([])
        _announce(folder, config, http)
        yield _Parts(config, identity, store, blobs, directory, dispatcher, live, shelf, http, quic, tls)
        live.set_unready(["the coordinator is stopping"])


async def _stop_answering(http: HttpServer, requests: InteractiveRequests) -> None:
    """Answers may end within the grace; what is left of it is for telling the others' clients."""
    stopping = asyncio.create_task(http.stop(STOP_GRACE_S))
    ended, _ = await asyncio.wait((stopping,), timeout=STOP_GRACE_S - _LAST_WORDS_S)
    if not ended:
        requests.stop()
    await stopping


async def _listen_for_workers(
    config: CoordinatorConfig, port: int, leaf: Leaf, directory: Directory, dispatcher: Dispatcher
) -> QuicServer:
    terms = Terms(
        name=config.name,
        https_port=port,
        heartbeat_s=config.heartbeat_s,
        lease_s=config.lease_s,
        fence_s=config.fence_s,
        ping_s=config.ping_s,
        ping_timeout_s=config.ping_timeout_s,
    )
    try:
        return await serve_quic(config.host, port, leaf=leaf, directory=directory, handler=dispatcher, terms=terms)
    except OSError as error:
        raise StateError(
            f"Cannot listen for workers on {config.host} port {port} (udp): {error.strerror or error}."
        ) from error


async def _until_stopped(parts: _Parts, stop: asyncio.Event) -> None:
    ticking = asyncio.create_task(_tick(parts))
    ending = asyncio.create_task(parts.http.wait_ended())
    stopping = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait((ticking, ending, stopping), return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in (ticking, ending, stopping):
            task.cancel()


async def _tick(parts: _Parts) -> None:
    """What time brings: leases that run out, what the admin's commands changed, an ageing certificate."""
    models = parts.directory.catalogue.models()
    leaf_due = time.monotonic() + _LEAF_CHECK_S
    tidy_due = time.monotonic()
    while True:
        now = time.monotonic()
        parts.dispatcher.expire_leases()
        try:
            parts.shelf.refresh()
            await parts.directory.refresh()
            if (now_there := parts.directory.catalogue.models()) != models:
                parts.live.learn_models(now_there)
                models = now_there
            if now >= tidy_due:
                tidy_due = now + _TIDY_RETRY_S
                await tidy(parts.store, parts.blobs, parts.live.model_blobs, time.time(), parts.config.keep_jobs_s)
                tidy_due = now + INTERVAL_S
            refusing = parts.store.refusing()
            parts.live.set_unready([refusing] if refusing else [])
        except (CoordinatorError, OSError) as error:
            parts.live.set_unready([str(error)])
        if now >= leaf_due:
            _renew_leaf(parts)
            leaf_due = now + _LEAF_CHECK_S
        await asyncio.sleep(_TICK_S)


def _tell_workers(change: DirectoryChange, dispatcher: Dispatcher) -> None:
    connections = dispatcher.connections()
    for worker_id in change.revoked:
        if worker_id in connections:
            connections[worker_id].link.close(CloseCode.REVOKED, "the admin has revoked this worker")
    for worker_id in change.drained:
        dispatcher.set_draining(worker_id, True)
    for worker_id in change.undrained:
        dispatcher.set_draining(worker_id, False)
    for worker_id in change.released:
        dispatcher.set_quarantined(worker_id, "")


def _fresh_leaf(identity: Identity, config: CoordinatorConfig) -> tuple[Leaf, ssl.SSLContext]:
    leaf = issue_leaf(identity, _names(config), datetime.now(UTC))
    save_leaf(leaf, config.folder.tls_chain, config.folder.tls_key)
    return leaf, server_context(config.folder.tls_chain, config.folder.tls_key)


def _renew_leaf(parts: _Parts) -> None:
    if not parts.quic.leaf.needs_renewal(datetime.now(UTC)):
        return
    leaf, _ = _fresh_leaf(parts.identity, parts.config)
    parts.tls.load_cert_chain(parts.config.folder.tls_chain, parts.config.folder.tls_key)
    parts.quic.use_leaf(leaf)
    log.info("renewed the TLS certificate")


def _names(config: CoordinatorConfig) -> list[str]:
    """The names under which clients may know this machine."""
    names = ["localhost", "127.0.0.1", "::1", socket.gethostname(), *(address.host for address in config.public)]
    if config.host not in ("0.0.0.0", "::"):  # noqa: S104  # compared, not bound
        names.append(config.host)
    with contextlib.suppress(OSError):
        names += socket.gethostbyname_ex(socket.gethostname())[2]
    return list(dict.fromkeys(name for name in names if name))


def _announce(folder: StateFolder, config: CoordinatorConfig, http: HttpServer) -> None:
    port, plain = http.ports[0], http.ports[1] if len(http.ports) > 1 else None
    temporary = folder.serve_file.with_suffix(".tmp")
    serving = Serving(os.getpid(), config.host, port, plain, config.public if config.public_given else ())
    temporary.write_bytes(msgspec.json.encode(serving))
    os.replace(temporary, folder.serve_file)
    extra = f", http://127.0.0.1:{plain}" if plain is not None else ""
    print(f"gogrid-coordinator {config.name} is ready on https://{config.host}:{port} (tcp and udp){extra}", flush=True)


def _on_stop_signals(stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        if sys.platform == "win32":
            signal.signal(name, lambda *_: loop.call_soon_threadsafe(stop))
        else:
            loop.add_signal_handler(name, stop)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
