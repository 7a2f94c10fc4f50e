"""A whole grid on this machine: a coordinator and its workers as child processes, all state in one folder.

For `gogrid demo`, the end-to-end tests and the benchmarks, which therefore use exactly what an admin and an owner type.
Promises: nothing outside the folder is written; `stop` leaves no process, whatever state the grid is in. The caller
owns the folder.
"""

import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import msgspec

from gogrid.client.answers import Worker
from gogrid.client.client import GoGrid
from gogrid.client.errors import ClientError
from gogrid.client.profile import Profile

NOBODYS = {
    "GOGRID_PAUSE_ON_ACTIVITY": "false",
    "GOGRID_PAUSE_ON_FULLSCREEN": "false",
    "GOGRID_RUN_ON_BATTERY": "true",
    "GOGRID_MAX_OTHER_LOAD": "100%",
}
"""Settings of workers that stand back for nobody: who starts a grid on one machine wants to see it work."""
READY_S = 30.0
STOP_S = 15.0
WORKER = "worker"
"""The first worker's name, here."""
_POLL_S = 0.02
_LOG_TAIL = 2000
T = TypeVar("T")


class LocalGridError(ClientError):
    """A program of the local grid did not do what it should; carries its own words."""


class InitAnswer(msgspec.Struct, frozen=True):
    """`gogrid-coordinator init --json`."""

    pin: str
    key: str


class TokenAnswer(msgspec.Struct, frozen=True):
    """`gogrid-coordinator token create --json`."""

    token: str


class Announcement(msgspec.Struct, frozen=True):
    """`serve.json`, which a ready coordinator writes."""

    pid: int
    port: int
    http_loopback: int


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the local coordinator listens."""

    port: int
    plain_port: int
    """HTTP on 127.0.0.1."""
    pid: int

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def plain_url(self) -> str:
        return f"http://127.0.0.1:{self.plain_port}"


class LocalGrid:
    """One coordinator, and workers by name. Use as a context manager; leaving it stops everything."""

    def __init__(
        self, folder: Path, settings: Mapping[str, str] | None = None, *, programs: Path | None = None
    ) -> None:
        """Where everything lies, and with what it runs.

        Args:
            settings: environment variables for both programs, for instance `GOGRID_WORKER_CPU_CORES`.
            programs: a folder whose programs are used before those that were installed with this Python.
        """
        self._programs = programs
        self.folder = folder
        self.data = folder / "coordinator"
        self.admin_key = ""
        self.pin = ""
        self._endpoint: Endpoint | None = None
        self._coordinator: subprocess.Popen[bytes] | None = None
        self._workers: dict[str, subprocess.Popen[bytes]] = {}
        self._joined: set[str] = set()
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("GOGRID_")}
        self._environment = {**inherited, **NOBODYS, "GOGRID_WORKER_DATA": str(folder / WORKER)}
        self._environment.update(settings or {})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def endpoint(self) -> Endpoint:
        if self._endpoint is None:
            raise LocalGridError("The local coordinator has not been started.")
        return self._endpoint

    @property
    def certificate(self) -> Path:
        """The coordinator's identity, for clients that take a file of trusted authorities."""
        return self.data / "identity.pem"

    @property
    def worker_pid(self) -> int:
        """Of the first worker's supervisor, whose child is the runner."""
        return self.pid_of(WORKER)

    def pid_of(self, name: str) -> int:
        """Of a worker's supervisor."""
        if name not in self._workers:
            raise LocalGridError(f"The local {name} has not been started.")
        return self._workers[name].pid

    @property
    def environment(self) -> Mapping[str, str]:
        """What its programs run with."""
        return self._environment

    def client(self) -> GoGrid:
        """The admin's, over TLS."""
        return GoGrid(Profile(self.endpoint.url, self.admin_key, self.certificate.read_text()))

    def init(self) -> None:
        """Make the coordinator's state."""
        made = self._admin(InitAnswer, "init", "--name", "local", "--host", "127.0.0.1")
        self.admin_key, self.pin = made.key, made.pin

    def start_coordinator(self) -> float:
        """Serve on free ports, the second time on the same ones; returns the seconds until it was ready.

        Raises:
            LocalGridError: it ended, or was not ready in time.
        """
        announced = self.data / "serve.json"
        began = time.monotonic()
        announced.unlink(missing_ok=True)
        port, plain = (self._endpoint.port, self._endpoint.plain_port) if self._endpoint else (0, _free_port())
        listen = ("--listen", f"127.0.0.1:{port}", "--http-loopback", str(plain))
        self._coordinator = self._spawn("coordinator", "gogrid-coordinator", "serve", "--data", str(self.data), *listen)
        while not announced.exists():
            self._still_alive("coordinator", self._coordinator, began)
        ready = time.monotonic() - began
        said = msgspec.json.decode(announced.read_bytes(), type=Announcement)
        self._endpoint = Endpoint(said.port, said.http_loopback, said.pid)
        return ready

    def add_model(self, name: str, path: Path | None = None) -> None:
        """A model folder or .gguf file; without a path: the echo engine under this name."""
        source = ("--engine", "echo") if path is None else (str(path),)
        self._run("gogrid-coordinator", "model", "add", *source, "--name", name, "--data", str(self.data))

    def join_worker(self, name: str = WORKER) -> None:
        """With a fresh token, the first time; without starting it."""
        if name in self._joined:
            return
        place = ("--data", str(self.folder / name))
        address = f"127.0.0.1:{self.endpoint.port}"
        token = self._admin(TokenAnswer, "token", "create", "--address", address).token
        named = () if name == WORKER else ("--name", name)
        self._run("gogrid-worker", *place, "join", "-", *named, given=token.encode())
        self._joined.add(name)

    def start_worker(self, name: str = WORKER) -> Worker:
        """Join with a fresh token the first time, start the worker and wait until the coordinator may give it work.

        Args:
            name: of its folder and its log; any but the first is known to the coordinator by it, too.

        Raises:
            LocalGridError: it ended, or was not ready in time; with its reason.
        """
        place = ("--data", str(self.folder / name))
        self.join_worker(name)
        began = time.monotonic()
        with self.client() as client:
            before = {worker.id: worker.connected_since for worker in client.workers()}
            process = self._workers[name] = self._spawn(name, "gogrid-worker", *place, "--headless")
            while True:
                self._still_alive(name, process, began)
                connected = (worker for worker in client.workers() if worker.connected)
                found = next((each for each in connected if each.connected_since != before.get(each.id)), None)
                if found is not None and found.readiness == "ready":
                    return found
                if found is not None and found.readiness == "unable":
                    raise LocalGridError(f"The worker cannot work here: {found.reason}")

    def stop(self) -> None:
        """Ask both to end, wait, and insist. Safe to call twice."""
        running = [process for process in (*self._workers.values(), self._coordinator) if process is not None]
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._workers, self._coordinator = {}, None

    def restart_coordinator(self) -> float:
        """Kill it as a power cut would, start it again on the same ports; returns the seconds until it was ready."""
        if self._coordinator is None:
            raise LocalGridError("The local coordinator has not been started.")
        self._coordinator.kill()
        self._coordinator.wait()
        return self.start_coordinator()

    def admin_command(self, *arguments: str) -> None:
        """A `gogrid-coordinator` command beside the running coordinator."""
        self._run("gogrid-coordinator", *arguments, "--data", str(self.data))

    def worker_command(self, name: str, *arguments: str) -> None:
        """A `gogrid-worker` command beside a running worker."""
        self._run("gogrid-worker", "--data", str(self.folder / name), *arguments)

    def log(self, name: str) -> str:
        """What `coordinator` or a worker has said so far."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def _admin(self, answer: type[T], *arguments: str) -> T:
        said = self._run("gogrid-coordinator", *arguments, "--data", str(self.data), "--json")
        return msgspec.json.decode(said, type=answer)

    def _run(self, program: str, *arguments: str, given: bytes = b"") -> bytes:
        done = subprocess.run(
            [self._program(program), *arguments], input=given, env=self._environment, capture_output=True, check=False
        )
        if done.returncode != 0:
            words = " ".join((program, *arguments[:2]))
            raise LocalGridError(f"`{words}` failed: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    def _spawn(self, log: str, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        # A session of its own: Ctrl-C is ours to hear, and `stop` ends the children in order.
        with (self.folder / f"{log}.log").open("wb") as file:
            return subprocess.Popen(
                [self._program(program), *arguments],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _still_alive(self, name: str, process: subprocess.Popen[bytes], began: float) -> None:
        ended = process.poll() is not None
        if ended or time.monotonic() - began > READY_S:
            what = "ended" if ended else f"was not ready within {READY_S:.0f} s"
            raise LocalGridError(f"The {name} {what}: {self.log(name)[-_LOG_TAIL:].strip()}")
        time.sleep(_POLL_S)

    def _program(self, name: str) -> str:
        own = self._programs and shutil.which(name, path=str(self._programs))
        return own or _installed(name)


def _installed(name: str) -> str:
    """The command that was installed with this Python."""
    here = shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(
        name, path=str(Path(sys.argv[0]).parent)
    )
    if here is None:
        raise LocalGridError(f"{name} is not installed beside this program; install GoGrid with its extras.")
    return here


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
