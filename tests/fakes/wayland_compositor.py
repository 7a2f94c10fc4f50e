"""As much of a Wayland compositor as tells a client whether its seat is idle: the real wire, over a real socket."""

import socket
import struct
import threading
from pathlib import Path

from tests.fakes.threaded import Threaded

OFFERED = ((1, "wl_compositor", 5), (2, "wl_seat", 8), (3, "ext_idle_notifier_v1", 1))


class Compositor(Threaded):
    """Serves one client; what it asked for is in `bound` and `timeouts`."""

    def __init__(self, path: Path, offered: tuple[tuple[int, str, int], ...] = OFFERED) -> None:
        super().__init__()
        self.path, self._offered = path, offered
        self.bound: dict[int, str] = {}
        """Interface by the client's object."""
        self.timeouts: dict[int, tuple[int, int]] = {}
        """Milliseconds and seat, by the client's notification."""
        self.ready = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()
        self._client: socket.socket | None = None

    def _end(self) -> None:
        self._listener.close()
        self.hang_up()

    def hang_up(self) -> None:
        if self._client is not None:
            self._client.shutdown(socket.SHUT_RDWR)
            self._client.close()
            self._client = None

    def send(self, sender: int, opcode: int, body: bytes = b"") -> None:
        assert self._client is not None
        self._client.sendall(struct.pack("=II", sender, (8 + len(body)) << 16 | opcode) + body)

    def raw(self, data: bytes) -> None:
        assert self._client is not None
        self._client.sendall(data)

    def _serve(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        self._client, unread = client, b""
        while True:
            try:
                data = client.recv(4096)
            except OSError:
                return
            if not data:
                return
            unread += data
            while len(unread) >= 8:
                receiver, word = struct.unpack_from("=II", unread)
                size = word >> 16
                if len(unread) < size:
                    break
                self._asked(receiver, word & 0xFFFF, unread[8:size])
                unread = unread[size:]

    def _asked(self, receiver: int, opcode: int, body: bytes) -> None:
        if (receiver, opcode) == (1, 1):  # wl_display.get_registry
            (registry,) = struct.unpack("=I", body)
            for number, interface, version in self._offered:
                word = interface.encode() + b"\0"
                padded = word + b"\0" * (-len(word) % 4)
                self.send(registry, 0, struct.pack("=II", number, len(word)) + padded + struct.pack("=I", version))
        elif (receiver, opcode) == (1, 0):  # wl_display.sync
            (callback,) = struct.unpack("=I", body)
            self.send(callback, 0, struct.pack("=I", 0))
        elif (receiver, opcode) == (2, 0):  # wl_registry.bind
            number, length = struct.unpack_from("=II", body)
            interface = body[8 : 8 + length - 1].decode()
            version, new = struct.unpack("=II", body[-8:])
            assert (number, interface) in [(each[0], each[1]) for each in self._offered]
            assert version == 1
            self.bound[new] = interface
        elif self.bound.get(receiver) == "ext_idle_notifier_v1" and opcode == 1:
            new, timeout_ms, seat = struct.unpack("=III", body)
            assert self.bound[seat] == "wl_seat"
            self.timeouts[new] = (timeout_ms, seat)
            self.ready.set()
