"""What a client notices of a worker that is killed, frozen, drained or paused in the middle of its answers.

Two workers with the echo engine at 20 ms a token. Every answer is held against its known length, and against the one
that nobody disturbed; the pause of an answer is the longest time it stood still.
"""

import contextlib
import hashlib
import itertools
import re
import selectors
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.figures import Figure
from benchmarks.sse import Answer, Client
from gogrid.client.local_grid import LocalGrid

WORKERS = ("one", "two")
DELAY_S = 0.02
REQUESTS = 400
CHUNKS = 40
CLIENTS = 16
LONG_CHUNKS = 150
ROUNDS = 8
FROZEN = 1.25
KILL_PAUSE_S = 1.5
YIELD_PAUSE_S = 0.3
_CONTENT = re.compile(rb'"content":"((?:[^"\\]|\\.)+)"')
_PATIENCE_S = 90.0


def measure(folder: Path) -> Iterator[Figure]:
    folder.mkdir(exist_ok=True)
    with _Pair(folder / "kill") as pair:
        yield from _killed(pair)
    with _Pair(folder / "freeze") as pair:
        yield _frozen(pair)
    with _Pair(folder / "pauses") as pair:
        yield from _pauses(pair, "kill -9", pair.kill, KILL_PAUSE_S)
        yield from _pauses(pair, "drain", pair.drain, YIELD_PAUSE_S)
        yield from _pauses(pair, "pause", pair.pause, YIELD_PAUSE_S)


# --- what is measured -------------------------------------------------------------------------------------------------


def _killed(pair: "_Pair") -> Iterator[Figure]:
    """One of two workers dies for good while 400 answers are asked for."""
    load = _Load(pair, REQUESTS, CHUNKS)
    load.start()
    load.until(REQUESTS // 4)
    time.sleep(CHUNKS * DELAY_S / 2)
    held = pair.running(WORKERS[0])
    pair.kill(WORKERS[0])
    heard = load.finish()
    detail = f"{REQUESTS} streamed requests, {CLIENTS} at once; the killed worker held {held}"
    yield Figure("kill -9 of one of two workers: client errors", heard.errors, "", 0, False, detail)
    yield Figure("kill -9 of one of two workers: broken streams", heard.broken, "", 0, False, detail)


def _frozen(pair: "_Pair") -> Figure:
    """Alone first, then with a second worker that freezes in the middle."""
    pair.kill(WORKERS[1])
    alone = _Load(pair, REQUESTS // 2, CHUNKS).run()
    pair.start(WORKERS[1])
    pair.warm()
    load = _Load(pair, REQUESTS // 2, CHUNKS)
    load.start()
    load.until(CLIENTS)
    time.sleep(CHUNKS * DELAY_S / 2)
    held = pair.running(WORKERS[1])
    pair.freeze(WORKERS[1])
    both = load.finish()
    pair.thaw(WORKERS[1])
    bad = alone.errors + alone.broken + both.errors + both.broken
    return Figure(
        "one of two workers frozen: total time ÷ time without it",
        both.total_s / alone.total_s,
        "",
        FROZEN,
        False,
        f"{both.total_s:.1f} s against {alone.total_s:.1f} s for {REQUESTS // 2} requests; it held {held}; {bad} bad",
    )


def _pauses(pair: "_Pair", what: str, hurt: Callable[[str], Callable[[], None]], goal: float) -> Iterator[Figure]:
    pauses: list[float] = []
    bad = 0
    for number in range(ROUNDS):
        load = _Load(pair, CLIENTS, LONG_CHUNKS)
        load.start()
        time.sleep(LONG_CHUNKS * DELAY_S * (0.15 + 0.5 * number / ROUNDS))
        name = max(WORKERS, key=pair.running)
        held = pair.running(name)
        mend = hurt(name)
        heard = load.finish()
        mend()
        pair.wait_ready()
        pair.warm()
        pauses += sorted(heard.pauses)[-held:] if held else []
        bad += heard.errors + heard.broken
    detail = f"{len(pauses)} answers moved in {ROUNDS} rounds, {bad} bad"
    for percent in (50, 99):
        limit = goal if percent == 99 else None
        pause = _percentile(pauses, percent)
        yield Figure(f"{what}: pause seen by the client, p{percent}", pause, "s", limit, False, detail)


def _percentile(values: list[float], percent: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


# --- the workers ------------------------------------------------------------------------------------------------------


class _Pair:
    """Two workers that can be hurt; each way to hurt one returns how it is mended."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.grid = LocalGrid(folder)
        self._ids: dict[str, str] = {}
        self._frozen: list[psutil.Process] = []

    def __enter__(self) -> "_Pair":
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.grid)
            self.grid.init()
            self.grid.add_model("echo")
            self.grid.start_coordinator()
            for name in WORKERS:
                self.start(name)
            self.warm()
            stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.thaw("")
        self.grid.stop()

    def start(self, name: str) -> None:
        self._ids[name] = self.grid.start_worker(name).id

    def warm(self) -> None:
        """Let each of them answer alone, so that both have the model loaded."""
        for other in reversed(WORKERS):
            mend = self.drain(other)
            _Load(self, CLIENTS, 2).run()
            mend()

    def running(self, name: str) -> int:
        with self.grid.client() as client:
            return sum(worker.running for worker in client.workers() if worker.id == self._ids[name])

    def wait_ready(self) -> None:
        end = time.monotonic() + _PATIENCE_S
        with self.grid.client() as client:
            while sum(worker.connected and worker.readiness == "ready" for worker in client.workers()) < len(WORKERS):
                if time.monotonic() > end:
                    raise RuntimeError(f"the workers did not come back: {client.workers()}")
                time.sleep(0.05)

    def kill(self, name: str) -> Callable[[], None]:
        """As a power cut would: supervisor, runner and sandboxes."""
        family = self._family(name)
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family, timeout=5)
        return lambda: self.start(name)

    def freeze(self, name: str) -> None:
        self._frozen = self._family(name)
        for process in self._frozen:
            process.send_signal(signal.SIGSTOP)

    def thaw(self, _name: str) -> None:
        for process in self._frozen:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)

    def drain(self, name: str) -> Callable[[], None]:
        self.grid.admin_command("worker", "drain", self._ids[name])
        return lambda: self.grid.admin_command("worker", "undrain", self._ids[name])

    def pause(self, name: str) -> Callable[[], None]:
        self.grid.worker_command(name, "pause")
        return lambda: self.grid.worker_command(name, "resume")

    def _family(self, name: str) -> list[psutil.Process]:
        supervisor = psutil.Process(self.grid.pid_of(name))
        return [supervisor, *supervisor.children(recursive=True)]


# --- the clients ------------------------------------------------------------------------------------------------------


class _Listener(Client):
    """Also notes what is said, and how long nothing is."""

    def ask(self, model: str, text: str, max_tokens: int) -> None:
        self.digest, self.pause_s, self._last = hashlib.sha256(), 0.0, 0.0
        self._rest = b""
        super().ask(model, text, max_tokens)

    def heard(self, data: bytes, now: float) -> None:
        whole, end, self._rest = (self._rest + data).rpartition(b"\n\n")
        said = _CONTENT.findall(whole + end)
        if not said:
            return
        self.pause_s = max(self.pause_s, now - self._last) if self._last else 0.0
        self._last = now
        for piece in said:
            self.digest.update(piece)


@dataclass(slots=True)
class _Heard:
    total_s: float = 0.0
    answers: int = 0
    errors: int = 0
    broken: int = 0
    """Ended properly, and with another text or another count than they should."""
    pauses: list[float] = field(default_factory=list)


class _Load:
    """So many requests, `CLIENTS` at a time, from a thread."""

    def __init__(self, pair: _Pair, requests: int, chunks: int) -> None:
        self._grid = pair.grid
        self._left = itertools.repeat(0, requests)
        self._chunks = chunks
        self._text = f"#echo chunks={chunks} delay_ms={DELAY_S * 1000:.0f}\none two three four five six seven eight"
        self._heard = _Heard()
        self._digest = b""
        self._thread = threading.Thread(target=self._work)
        self._failure: BaseException | None = None

    def run(self) -> _Heard:
        self.start()
        return self.finish()

    def start(self) -> None:
        self._thread.start()

    def until(self, answers: int) -> None:
        while self._heard.answers < answers and self._thread.is_alive():
            time.sleep(0.01)

    def finish(self) -> _Heard:
        self._thread.join()
        if self._failure is not None:
            raise RuntimeError("the load generator failed") from self._failure
        return self._heard

    def _work(self) -> None:
        try:
            began = time.perf_counter()
            with selectors.DefaultSelector() as selector:
                for _ in range(CLIENTS):
                    self._next(selector, self._connect())
                while selector.get_map():
                    ready = selector.select(_PATIENCE_S)
                    if not ready:
                        raise RuntimeError(f"nothing came for {_PATIENCE_S:.0f} s")
                    for key, _ in ready:
                        self._read(selector, key.data)
            self._heard.total_s = time.perf_counter() - began
        except BaseException as error:  # noqa: BLE001  raised again where the load is awaited
            self._failure = error

    def _connect(self) -> _Listener:
        return _Listener("127.0.0.1", self._grid.endpoint.plain_port, self._grid.admin_key)

    def _next(self, selector: selectors.BaseSelector, client: _Listener) -> None:
        if next(self._left, None) is None:
            client.socket.close()
            return
        selector.register(client.socket, selectors.EVENT_READ, client)
        client.ask("echo", self._text, self._chunks)

    def _read(self, selector: selectors.BaseSelector, client: _Listener) -> None:
        try:
            answer = client.read()
        except (RuntimeError, OSError):
            self._heard.errors += 1
            selector.unregister(client.socket)
            client.socket.close()
            self._next(selector, self._connect())
            return
        if answer is not None:
            selector.unregister(client.socket)
            self._judge(client, answer)
            self._next(selector, client)

    def _judge(self, client: _Listener, answer: Answer) -> None:
        digest = client.digest.digest()
        self._digest = self._digest or digest
        self._heard.answers += 1
        self._heard.broken += (digest, answer.completion_tokens) != (self._digest, self._chunks)
        self._heard.pauses.append(client.pause_s)
