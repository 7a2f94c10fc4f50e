"""Durable no-op jobs end to end: submitted over HTTP, run by a worker, result on disk; against Celery and Dask.

A no-op is a completion of one token by the echo engine of simulated workers, so that coordinator, wire and store are
what is measured. Everyone's jobs are counted until the last result is kept, and ours are counted in the database at the
end. Contenders take turns, and each one's best turn counts: what disturbs a machine only ever makes a turn slower. The
peers keep nothing on a disk: Redis has the settings it comes with, Dask has no disk; ours is on disk twice for
each job, before it is acknowledged and before its worker is told that its end is kept.
"""

import json
import os
import selectors
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from statistics import median

import psutil

from benchmarks import peers
from benchmarks.figures import Figure
from benchmarks.plain_http import Connection, Reply
from benchmarks.simulated_process import FleetProcess
from gogrid.client.local_grid import LocalGrid

TIMES_A_PEER = 5.0
COMMITS = 2.5
AMOUNT = peers.Amount(bulk=3000, clients=64, each=30, singles=100)
WORKERS = 8
ROUNDS = 3
_BULK = 10_000
"""Ours: as many as a peer gets would be over too soon to be measured."""
_LINES = 1000
"""Of one bulk request."""
_EACH = 100
_POLL_S = 0.02
_READY_S = 60.0
_LONGEST_S = 120.0
_JOB = {"kind": "completion", "request": {"model": "echo", "prompt": "ok", "max_tokens": 1}}
_LINE = json.dumps(_JOB).encode()
_UNTIL_IT_ENDS = "Prefer: wait=60\r\n"
_SETTINGS = {"GOGRID_COORDINATOR_LOG_LEVEL": "warning", "GOGRID_COORDINATOR_JOBS_PER_KEY": "100000"}


def measure(folder: Path) -> Iterator[Figure]:
    bulk, clients = [], []
    contenders = {"Celery, prefork": "prefork", "Celery, threads": "threads", "Dask": ""}
    theirs: dict[str, list[peers.Speed]] = {name: [] for name in contenders}
    with LocalGrid(folder, _SETTINGS) as grid:
        grid.init()
        grid.add_model("echo")
        grid.start_coordinator()
        with FleetProcess(grid.data, WORKERS) as fleet:
            fleet.wait_ready(_READY_S)
            time.sleep(1.0)
            _in_bulk(grid, _LINES)
            for _ in range(ROUNDS):
                bulk.append(_in_bulk(grid, _BULK))
                clients.append(_by_clients(grid, AMOUNT.clients, _EACH))
                for name, pool in contenders.items():
                    theirs[name].append(peers.celery(folder, pool, AMOUNT) if pool else peers.dask(AMOUNT))
            yield from _cost(grid, fleet, "in bulk", _BULK, partial(_in_bulk, grid, _BULK))
            count = AMOUNT.clients * _EACH
            waiting = partial(_by_clients, grid, AMOUNT.clients, _EACH)
            yield from _cost(grid, fleet, f"{AMOUNT.clients} clients", count, waiting)
            yield from _one_by_one(grid, folder)
        _check(grid)
    for name, speeds in theirs.items():
        yield _ratio(f"no-op jobs/s in bulk ÷ {name}", bulk, [speed.bulk_per_s for speed in speeds])
        what = f"no-op jobs/s, {AMOUNT.clients} clients ÷ {name}"
        yield _ratio(what, clients, [speed.clients_per_s for speed in speeds])
    for name, speeds in theirs.items():
        yield Figure(f"{name}: one job after the other, p50", median(speed.single_ms for speed in speeds), "ms")


def _ratio(what: str, ours: list[float], theirs: list[float]) -> Figure:
    detail = f"{max(ours):.0f} against {max(theirs):.0f} jobs/s, the best of {ROUNDS} turns each"
    return Figure(what, max(ours) / max(theirs), "times", TIMES_A_PEER, detail=detail)


def _in_bulk(grid: LocalGrid, count: int) -> float:
    """Jobs per second, from the first line to the last result."""
    with Connection(grid.endpoint.plain_port, grid.admin_key) as connection:
        began = time.perf_counter()
        for first in range(0, count, _LINES):
            lines = b"\n".join([_LINE] * min(_LINES, count - first))
            connection.ask("POST", "/api/v1/jobs/bulk", lines, "application/jsonl").require(200, 201)
        _wait_until_idle(connection)
        return count / (time.perf_counter() - began)


def _by_clients(grid: LocalGrid, clients: int, each: int) -> float:
    """Jobs per second of clients that each submit one job after the other and wait for its result, like the peers'."""
    port, key = grid.endpoint.plain_port, grid.admin_key
    connections = [Connection(port, key, _UNTIL_IT_ENDS) for _ in range(clients)]
    left = {connection: each for connection in connections}
    began = time.perf_counter()
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            connection.send("POST", "/api/v1/jobs", _LINE, "application/json")
        while selector.get_map():
            for ready, _ in selector.select(_LONGEST_S):
                connection = ready.data
                reply = connection.read()
                if reply is None:
                    continue
                _require_done(reply)
                left[connection] -= 1
                if left[connection]:
                    connection.send("POST", "/api/v1/jobs", _LINE, "application/json")
                else:
                    selector.unregister(connection.socket)
    took = time.perf_counter() - began
    for connection in connections:
        connection.close()
    return clients * each / took


def _wait_until_idle(connection: Connection) -> None:
    """Until no job waits or runs: the end of each is on disk then."""
    deadline = time.monotonic() + _LONGEST_S
    path = "/api/v1/jobs?state=queued,leased,running&kind=all&limit=1"
    while json.loads(connection.ask("GET", path).require(200).body)["data"]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"jobs are still unfinished after {_LONGEST_S:.0f} s")
        time.sleep(_POLL_S)


def _cost(grid: LocalGrid, fleet: FleetProcess, how: str, count: int, work: Callable[[], float]) -> Iterator[Figure]:
    """Processor time of each process, by the kernel's accounting: what a busy machine distorts least."""
    coordinator = psutil.Process(grid.endpoint.pid)
    before, fleet_before, own_before = _cpu_s(coordinator), fleet.status().cpu_s, time.process_time()
    work()
    for name, spent in (
        ("coordinator", _cpu_s(coordinator) - before),
        ("simulated workers", fleet.status().cpu_s - fleet_before),
        ("client", time.process_time() - own_before),
    ):
        yield Figure(f"CPU for one no-op job, {how}: {name}", spent / count * 1e6, "µs")


def _one_by_one(grid: LocalGrid, folder: Path) -> Iterator[Figure]:
    """One durable job after the other, in turns with one commit after the other on the same disk."""
    jobs, commits = [], []
    with Connection(grid.endpoint.plain_port, grid.admin_key, _UNTIL_IT_ENDS) as connection, _Commits(folder) as disk:
        for _ in range(AMOUNT.singles):
            jobs.append(_one_job(connection))
            commits.append(disk.one())
    detail = f"{median(jobs) * 1000:.2f} ms against {median(commits) * 1000:.2f} ms for a commit, in turns"
    value = median(jobs) / median(commits)
    yield Figure("one durable no-op job ÷ one durable commit, p50", value, "times", COMMITS, False, detail)


def _one_job(connection: Connection) -> float:
    began = time.perf_counter()
    _require_done(connection.ask("POST", "/api/v1/jobs", _LINE, "application/json"))
    return time.perf_counter() - began


def _require_done(reply: Reply) -> None:
    if b'"state":"done"' not in reply.require(201).body:
        raise RuntimeError(f"the job did not end: {reply.body[:500]!r}")


class _Commits:
    """A database of its own on the same disk, as durable as the coordinator's."""

    def __init__(self, folder: Path) -> None:
        self._database = sqlite3.connect(folder / "commits.db", isolation_level=None)
        for line in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "CREATE TABLE t (n INTEGER, body BLOB)"):
            self._database.execute(line).close()

    def __enter__(self) -> "_Commits":
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def one(self) -> float:
        began = time.perf_counter()
        self._database.execute("INSERT INTO t VALUES (1, ?)", (os.urandom(300),)).close()
        return time.perf_counter() - began


def _check(grid: LocalGrid) -> None:
    """Every job is done and has its result."""
    with closing(sqlite3.connect(f"file:{grid.data / 'coordinator.db'}?mode=ro", uri=True)) as database:
        wrong = "SELECT count(*) FROM job WHERE state != 'done' OR length(result) = 0 OR attempts != 1"
        (count,) = database.execute(wrong).fetchone()
    if count:
        raise RuntimeError(f"{count} jobs have no result, or more than one attempt")


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
