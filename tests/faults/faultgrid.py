"""A grid whose parts can be killed, frozen and cut off one by one: real programs, separate folders, real sandboxes.

The coordinator is `LocalGrid`'s. Each worker has a data folder of its own and dials the coordinator or a `UdpProxy`.
Times are short, so that leases end within a test, unless `DEFAULTS` is given.
"""

import contextlib
import itertools
import os
import signal
import sqlite3
import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import msgspec
import psutil

from gogrid.client.local_grid import NOBODYS, LocalGrid
from tests.faults.checker import Verdict, check
from tests.faults.client_log import Accepted, AnyEntry, read_log
from tests.faults.load import FINAL, Order
from tests.faults.proxy import UdpProxy

DEFAULTS: Mapping[str, str] = {}
SHORT: Mapping[str, str] = {
    "GOGRID_COORDINATOR_HEARTBEAT": "0.5s",
    "GOGRID_COORDINATOR_FENCE": "2s",
    "GOGRID_COORDINATOR_LEASE": "3s",
    "GOGRID_COORDINATOR_PING": "0.5s",
    "GOGRID_COORDINATOR_PING_TIMEOUT": "1s",
}
_READY_S = 40.0
_PROGRAMS = Path(sysconfig.get_path("scripts"))
ROOT = Path(__file__).parents[2]


def within(seconds: float, true: Callable[[], bool], every_s: float = 0.02) -> bool:
    """Whether something becomes true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(every_s)
    return true()


class GridWorker:
    """One `gogrid-worker --headless` with its runner and sandboxes."""

    def __init__(self, name: str, folder: Path, settings: Mapping[str, str]) -> None:
        self.name = name
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("GOGRID_")}
        self._environment = {**inherited, **NOBODYS, **settings, "GOGRID_WORKER_DATA": str(folder / name)}
        self._log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._frozen: list[psutil.Process] = []

    def join(self, token: str) -> None:
        command = [str(_PROGRAMS / "gogrid-worker"), "join", "-", "--name", self.name]
        done = subprocess.run(command, input=token.encode(), env=self._environment, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(_PROGRAMS / "gogrid-worker"), "--headless"],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def family(self) -> list[psutil.Process]:
        """The supervisor, its runner, and all that runs in its sandboxes; the supervisor first."""
        assert self._process is not None
        try:
            supervisor = psutil.Process(self._process.pid)
            return [supervisor, *supervisor.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def runner(self) -> psutil.Process | None:
        family = self.family()
        return next((one for one in family[1:] if "runner" in words_of(one)), None)

    def kill(self) -> int:
        """As a power cut of its machine would: all at once. Returns how many of its processes were left afterwards."""
        family = self.family()
        for one in family[:2]:  # the rest must die of this by itself
            with contextlib.suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(10)
        _, alive = psutil.wait_procs(family, timeout=5)
        return len(alive)

    def kill_runner(self) -> None:
        """Only the runner: its supervisor starts it again."""
        runner = self.runner()
        if runner is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                runner.send_signal(signal.SIGKILL)

    def freeze(self) -> None:
        """Stop every process, as a laptop that sleeps does."""
        self._frozen = self.family()
        for one in self._frozen:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        for one in reversed(self._frozen):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGCONT)
        self._frozen = []

    def stop(self) -> None:
        self.thaw()
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()


class Load:
    """A client process (`tests.faults.load`) and its log."""

    def __init__(self, folder: Path, order: Order) -> None:
        self.log = Path(order.log)
        self.seed = order.seed
        self._said = folder / f"{self.log.stem}.out"
        file = folder / f"{self.log.stem}.json"
        file.write_bytes(msgspec.json.encode(order))
        with self._said.open("wb") as out:
            self._process = subprocess.Popen(
                [_python(), "-m", "tests.faults.load", str(file)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def entries(self) -> list[AnyEntry]:
        """What is in the log so far."""
        return list(read_log(self.log)) if self.log.exists() else []

    def count(self, kind: type[AnyEntry]) -> int:
        return sum(isinstance(entry, kind) for entry in self.entries())

    def finish(self, patience_s: float) -> list[AnyEntry]:
        """End it; it waits for what was acknowledged, at most so long."""
        self._process.communicate(f"{patience_s}\n".encode(), timeout=patience_s + 120)
        said = self._said.read_text()
        assert self._process.returncode == 0, said
        assert "Traceback" not in said, said
        return self.entries()

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()


class FaultGrid:
    """Use as a context manager: leaving it ends every process."""

    def __init__(self, folder: Path, settings: Mapping[str, str] = SHORT) -> None:
        self.folder = folder
        self._settings = dict(settings)
        self.local = LocalGrid(folder, self._settings)
        self.workers: list[GridWorker] = []
        self.loads: list[Load] = []
        self.proxies: dict[str, UdpProxy] = {}
        self._http: httpx.Client | None = None
        self._seeds = itertools.count(1)

    def __enter__(self) -> Self:
        self.local.init()
        self.local.add_model("echo")
        self.local.start_coordinator()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for load in self.loads:
            load.stop()
        for worker in self.workers:
            worker.stop()
        self.local.stop()
        for proxy in self.proxies.values():
            proxy.__exit__(None, None, None)
        if self._http is not None:
            self._http.close()

    @property
    def http(self) -> httpx.Client:
        """The admin's, over plain loopback; outlives restarts of the coordinator."""
        if self._http is None:
            self._http = httpx.Client(
                base_url=self.local.endpoint.plain_url,
                headers={"authorization": f"Bearer {self.local.admin_key}"},
                timeout=10.0,
                trust_env=False,
            )
        return self._http

    def add_worker(
        self, name: str, address: str | None = None, settings: Mapping[str, str] | None = None
    ) -> GridWorker:
        """Join and start one; does not wait for it (`wait_ready` does).

        Args:
            address: what it dials: a proxy's; the coordinator's own by default.
        """
        worker = GridWorker(name, self.folder, {**self._settings, **(settings or {})})
        self.workers.append(worker)
        worker.join(self.token(address or f"127.0.0.1:{self.local.endpoint.port}"))
        worker.start()
        return worker

    def add_proxied(self, name: str) -> GridWorker:
        """A worker behind a bad network of its own, `self.proxies[name]`; clear at first."""
        proxy = self.proxies[name] = UdpProxy(self.local.endpoint.port, seed=len(self.proxies))
        proxy.__enter__()
        return self.add_worker(name, proxy.address)

    def worker(self, name: str) -> GridWorker:
        return next(worker for worker in self.workers if worker.name == name)

    def mend(self) -> None:
        """Everything up, thawed and connected over clear networks."""
        for proxy in self.proxies.values():
            proxy.conditions()
        for worker in self.workers:
            worker.thaw()
            if not worker.running:
                worker.start()
        self.heal()
        self.wait_ready(seconds=60)

    def token(self, address: str) -> str:
        command = [_PROGRAMS / "gogrid-coordinator", "token", "create", "--address", address, "--json"]
        command += ["--data", str(self.local.data)]
        made: str = msgspec.json.decode(subprocess.run(command, capture_output=True, check=True).stdout)["token"]
        return made

    def listed(self) -> dict[str, dict[str, object]]:
        """The coordinator's view of its workers, by name; nothing while it cannot be reached."""
        try:
            answer = self.http.get("/api/v1/workers")
        except httpx.TransportError:
            return {}
        return {worker["name"]: worker for worker in answer.json()["data"]} if answer.status_code == 200 else {}

    def ready(self, *names: str) -> bool:
        listed = self.listed()
        wanted = names or tuple(worker.name for worker in self.workers)
        return all(
            name in listed
            and listed[name]["connected"]
            and not listed[name]["silent"]
            and listed[name]["readiness"] == "ready"
            for name in wanted
        )

    def avoids(self, name: str) -> bool:
        """Whether the coordinator gives this worker nothing new: it is gone, or silent."""
        worker = self.listed().get(name, {})
        return bool(worker) and (not worker["connected"] or bool(worker["silent"]))

    def wait_ready(self, *names: str, seconds: float = _READY_S) -> float:
        """Seconds until these workers (all by default) may be given work."""
        begun = time.monotonic()
        assert within(seconds, lambda: self.ready(*names)), f"{self.listed()}\n{self.last_words()}"
        return time.monotonic() - begun

    def session(self, name: str) -> object:
        """Something that another session of this worker does not have."""
        return self.listed().get(name, {}).get("connected_since")

    def wait_back(self, name: str, before: object) -> None:
        """Until a worker that was killed in the session `before` may be given work in a later one."""
        assert within(60, lambda: self.session(name) != before and self.ready(name)), self.last_words()

    def heal(self) -> int:
        """Release every worker that is quarantined; how many there were."""
        sick = [str(worker["id"]) for worker in self.listed().values() if worker["quarantined"]]
        for worker_id in sick:
            self.local.admin_command("worker", "release", worker_id)
        return len(sick)

    @contextlib.contextmanager
    def drained(self, name: str) -> Iterator[None]:
        """Within, this worker gets nothing new and hands on what somebody waits for."""
        worker_id = str(self.listed()[name]["id"])
        self.local.admin_command("worker", "drain", worker_id)
        try:
            yield
        finally:
            self.local.admin_command("worker", "undrain", worker_id)

    def load(self, name: str, order: Order) -> Load:
        """Start a client; `name` once for each grid."""
        known = {"url": self.local.endpoint.plain_url, "key": self.local.admin_key}
        log = str(self.folder / f"{name}.jsonl")
        here = msgspec.structs.replace(order, **known, log=log, seed=next(self._seeds))
        load = Load(self.folder, here)
        self.loads.append(load)
        assert within(20, lambda: bool(load.entries())), "the client does not begin"
        return load

    def accepted(self) -> Iterator[Accepted]:
        """The coordinator's own record: the lease whose result it took, and any that it granted after that."""
        with contextlib.closing(sqlite3.connect(f"file:{self.local.data}/coordinator.db?mode=ro", uri=True)) as store:
            rows = store.execute(
                "SELECT label, id, outcome_epoch FROM job WHERE outcome_epoch IS NOT NULL AND task IS NOT NULL"
                " UNION SELECT label, id, job_attempt.epoch FROM job JOIN job_attempt ON job_id = id"
                " WHERE job_attempt.epoch >= outcome_epoch"
            )
            for label, job, epoch in rows:
                yield Accepted(label, job, epoch)

    def judge(self, load: Load, patience_s: float) -> Verdict:
        """End a client and check its log against the coordinator's record."""
        entries = load.finish(patience_s)
        return check([*entries, *(taken for taken in self.accepted() if taken.op.startswith(f"job-{load.seed}-"))])

    def held_by(self, name: str) -> dict[str, int]:
        """The jobs a worker holds now, with the epoch of each lease."""
        worker = self.listed()[name]["id"]
        found = self.http.get("/api/v1/jobs", params={"state": "leased,running", "limit": "1000"}).json()["data"]
        return {job["id"]: job["epoch"] for job in found if job["worker"] == worker}

    def moved_on(self, held: Mapping[str, int]) -> bool:
        """Whether each of these jobs has ended, waits again, or has another lease."""
        jobs = [self.http.get(f"/api/v1/jobs/{job}").json() for job in held]
        return all(job["state"] in (*FINAL, "queued") or job["epoch"] > held[job["id"]] for job in jobs)

    def settled(self) -> bool:
        """Whether no job that a fault has hit is still under way: a job is given up as poison after the third hit."""
        params = {"state": "queued,leased,running", "limit": "1000"}
        jobs = self.http.get("/api/v1/jobs", params=params).json()["data"]
        return all(job["epoch"] <= 1 and (job["state"] != "queued" or job["epoch"] == 0) for job in jobs)

    def last_words(self, size: int = 1500) -> str:
        """The end of every log, for a test that fails."""
        logs = sorted(self.folder.glob("*.log"))
        return "\n".join(f"--- {log.name}\n{log.read_text(errors='replace')[-size:]}" for log in logs)


def _python() -> str:
    return str(_PROGRAMS / "python")


def words_of(process: psutil.Process) -> list[str]:
    """Its command line; nothing of one that has ended meanwhile."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []
