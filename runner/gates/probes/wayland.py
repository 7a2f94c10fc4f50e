"""A Wayland session whose compositor speaks `ext-idle-notify-v1`: KWin, Sway, Hyprland, COSMIC, niri and others.

The compositor tells when there was no input for a second and when there is one again; a program that keeps the screen
on (a video, a call) counts as input, as the protocol wants it. Three requests of the wire are all that is needed, so
they are written here. An unknown event is skipped; a compositor that breaks the protocol counts as gone.
"""

import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from runner.gates.probes.base import LostError, NoAnswerError

QUIET_S = 1.0
"""After so long without input the compositor calls a seat idle."""
_TIMEOUT_S = 0.5
_LARGEST_MESSAGE = 1 << 16
_DISPLAY, _REGISTRY, _SYNC = 1, 2, 3
_FIRST_FREE = 4
_NOTIFIER, _SEAT = "ext_idle_notifier_v1", "wl_seat"


class Wayland:
    """Implements `Desktop`."""

    name = "the Wayland compositor"

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises `LostError` where there is none, or it does not tell about idleness; `NoAnswerError`.

        Args:
            path: of its socket.
            clock: monotonic seconds.
        """
        self._clock = clock
        self._unread = b""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(_TIMEOUT_S)
        self._idle_since: dict[int, float | None] = {}
        """By notification, one for each seat: since when it has been idle; None: it is in use."""
        try:
            self._socket.connect(str(path))
            self._open(self._globals())
        except OSError as error:
            self.close()
            raise LostError(f"{self.name} cannot be reached at {path}.") from error
        except (LostError, NoAnswerError):
            self.close()
            raise

    def idle_s(self) -> float:
        for sender, opcode, _ in self._events(0.0):
            if sender in self._idle_since and opcode in (0, 1):
                self._idle_since[sender] = self._clock() - QUIET_S if opcode == 0 else None
            elif sender == _DISPLAY and opcode == 0:
                raise LostError(f"{self.name} refuses to tell about idleness.")
        since = self._idle_since.values()
        return min((self._clock() - at if at is not None else 0.0) for at in since)

    def close(self) -> None:
        self._socket.close()

    def _globals(self) -> list[tuple[int, str]]:
        """Number and interface of everything the compositor offers."""
        self._send(_DISPLAY, 1, struct.pack("=I", _REGISTRY))
        self._send(_DISPLAY, 0, struct.pack("=I", _SYNC))
        found: list[tuple[int, str]] = []
        while True:
            for sender, opcode, body in self._events(_TIMEOUT_S):
                if sender == _SYNC:
                    return found
                if sender == _REGISTRY and opcode == 0:
                    number, length = struct.unpack_from("=II", body)
                    found.append((number, body[8 : 8 + length - 1].decode(errors="replace")))

    def _open(self, offered: list[tuple[int, str]]) -> None:
        notifiers = [number for number, interface in offered if interface == _NOTIFIER]
        seats = [number for number, interface in offered if interface == _SEAT]
        if not notifiers or not seats:
            raise LostError(f"{self.name} does not tell when it was used last (no ext-idle-notify).")
        notifier = _FIRST_FREE
        self._bind(notifiers[0], _NOTIFIER, notifier)
        for index, number in enumerate(seats):
            seat, notification = notifier + 1 + 2 * index, notifier + 2 + 2 * index
            self._bind(number, _SEAT, seat)
            self._send(notifier, 1, struct.pack("=III", notification, int(QUIET_S * 1000), seat))
            self._idle_since[notification] = None

    def _bind(self, number: int, interface: str, new: int) -> None:
        word = interface.encode() + b"\0"
        padded = word + b"\0" * (-len(word) % 4)
        self._send(_REGISTRY, 0, struct.pack("=II", number, len(word)) + padded + struct.pack("=II", 1, new))

    def _send(self, receiver: int, opcode: int, body: bytes) -> None:
        self._socket.sendall(struct.pack("=II", receiver, (8 + len(body)) << 16 | opcode) + body)

    def _events(self, wait_s: float) -> Iterator[tuple[int, int, bytes]]:
        """What has come: sender, opcode and arguments."""
        try:
            ready = bool(select.select([self._socket], [], [], wait_s)[0])
            if not ready and wait_s:
                raise NoAnswerError(f"{self.name} does not answer.")
            while ready:
                data = self._socket.recv(_LARGEST_MESSAGE)
                if not data:
                    raise LostError(f"{self.name} is gone.")
                self._unread += data
                ready = bool(select.select([self._socket], [], [], 0)[0])
        except (OSError, ValueError) as error:
            raise LostError(f"{self.name} is gone.") from error
        while len(self._unread) >= 8:
            sender, word = struct.unpack_from("=II", self._unread)
            size = word >> 16
            if size < 8:
                raise LostError(f"{self.name} breaks its protocol.")
            if len(self._unread) < size:
                return
            body, self._unread = self._unread[8:size], self._unread[size:]
            yield sender, word & 0xFFFF, body
