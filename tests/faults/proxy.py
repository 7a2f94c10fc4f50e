"""A bad network between workers and a coordinator: a UDP proxy in a thread of its own.

Workers dial `address`. Each of their sockets gets one towards the coordinator, which therefore sees one address for
each worker, as behind a NAT; `rebind` gives all of them new ones. Conditions are set for both directions at once,
follow a `Schedule`, and may be changed at any time from any thread. What is decided lies in `impairment.py`.
"""

import heapq
import itertools
import selectors
import socket
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.faults.impairment import CLEAR, Conditions, Lane, Phase, Schedule

_LARGEST = 65535
_BUFFER = 4 << 20
_FORGOTTEN_S = 90.0
"""A worker's socket that has said nothing for so long is gone."""
_UP, _DOWN = 0, 1


@dataclass(slots=True, eq=False)
class _Flow:
    """One worker's socket and its counterpart."""

    worker: tuple[str, int]
    upstream: socket.socket
    heard: float


class UdpProxy:
    """Use as a context manager."""

    def __init__(self, port: int, seed: int = 0) -> None:
        """Args: port: the coordinator's, on loopback."""
        self._target = ("127.0.0.1", port)
        self.up, self.down = Lane(seed * 2 + 1), Lane(seed * 2 + 2)
        self._schedule = Schedule((Phase(1.0),))
        self._since = time.monotonic()
        self._listener = _socket()
        self._listener.bind(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._flows: dict[tuple[str, int], _Flow] = {}
        self._due: list[tuple[float, int, int, tuple[str, int], bytes]] = []
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self._rebinds = 0
        self._rebinding = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"udp proxy {self.port}", daemon=True)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def rebinds(self) -> int:
        """Sockets that were given a new port."""
        return self._rebinds

    def __enter__(self) -> Self:
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._selector.register(self._woken, selectors.EVENT_READ, self._woken)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        self._wake.send(b"x")
        self._thread.join(10)
        for flow in self._flows.values():
            flow.upstream.close()
        for open_socket in (self._listener, self._wake, self._woken):
            open_socket.close()
        self._selector.close()

    def conditions(self, up: Conditions = CLEAR, down: Conditions = CLEAR) -> None:
        """From now on."""
        self.follow(Schedule((Phase(1.0, up, down),)))

    def follow(self, schedule: Schedule) -> None:
        """From now on, from the schedule's start."""
        with self._lock:
            self._schedule, self._since = schedule, time.monotonic()

    def rebind(self) -> None:
        """Like a NAT that forgets: every worker gets a new port towards the coordinator, the old ones are closed."""
        self._rebinding = True
        self._wake.send(b"x")

    # --- the thread ---

    def _run(self) -> None:
        while not self._stopping:
            wait = max(0.0, self._due[0][0] - time.monotonic()) if self._due else 1.0
            for key, _ in self._selector.select(wait):
                if key.data is None:
                    self._from_workers()
                elif key.data is self._woken:
                    self._woken.recv(64)
                else:
                    self._from_coordinator(key.data)
            if self._rebinding:
                self._rebinding = False
                self._move_all()
            self._deliver()

    def _from_workers(self) -> None:
        now = time.monotonic()
        for data, worker in _received(self._listener):
            flow = self._flows.get(worker)
            if flow is None:
                self._forget(now)
                flow = self._flows[worker] = _Flow(worker, self._connect(), now)
                self._selector.register(flow.upstream, selectors.EVENT_READ, flow)
            flow.heard = now
            self._decide(_UP, data, worker, now)

    def _from_coordinator(self, flow: _Flow) -> None:
        now = time.monotonic()
        for data, _ in _received(flow.upstream):
            self._decide(_DOWN, data, flow.worker, now)

    def _decide(self, way: int, data: bytes, worker: tuple[str, int], now: float) -> None:
        with self._lock:
            phase = self._schedule.at(now - self._since)
        lane, conditions = (self.up, phase.up) if way == _UP else (self.down, phase.down)
        for due, arriving in lane.pass_on(data, conditions, now):
            heapq.heappush(self._due, (due, next(self._numbers), way, worker, arriving))

    def _deliver(self) -> None:
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            _, _, way, worker, data = heapq.heappop(self._due)
            flow = self._flows.get(worker)
            if flow is None:
                continue
            try:
                if way == _UP:
                    flow.upstream.send(data)
                else:
                    self._listener.sendto(data, worker)
            except (BlockingIOError, ConnectionRefusedError):
                continue  # a full buffer or a dead peer: that datagram is lost, as on any network

    def _connect(self) -> socket.socket:
        upstream = _socket()
        upstream.connect(self._target)
        return upstream

    def _move_all(self) -> None:
        for flow in self._flows.values():
            old, flow.upstream = flow.upstream, self._connect()
            self._selector.unregister(old)
            self._selector.register(flow.upstream, selectors.EVENT_READ, flow)
            old.close()
            self._rebinds += 1

    def _forget(self, now: float) -> None:
        for flow in [flow for flow in self._flows.values() if now - flow.heard > _FORGOTTEN_S]:
            del self._flows[flow.worker]
            self._selector.unregister(flow.upstream)
            flow.upstream.close()


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    return made


def _received(source: socket.socket) -> list[tuple[bytes, tuple[str, int]]]:
    """All that lies there, at most 64."""
    found: list[tuple[bytes, tuple[str, int]]] = []
    while len(found) < 64:
        try:
            found.append(source.recvfrom(_LARGEST))
        except BlockingIOError:
            break
        except ConnectionRefusedError:
            continue
    return found
