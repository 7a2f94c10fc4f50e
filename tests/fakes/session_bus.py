"""A real message bus, and small services on it that answer what the test says, as a desktop's would."""

import contextlib
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Self

from jeepney import HeaderFields, MessageType, message_bus, new_error, new_method_return
from jeepney.io.blocking import open_dbus_connection

Answers = Mapping[tuple[str, str], tuple[str, tuple[object, ...]]]
"""Signature and values by path and method; properties by path and `Interface.Name`."""


@contextlib.contextmanager
def message_bus_of_its_own() -> Iterator[str]:
    """Its address."""
    daemon = shutil.which("dbus-daemon")
    assert daemon is not None
    command = [daemon, "--session", "--nofork", "--print-address", "--nopidfile"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


class Service:
    """Owns a name on the bus; `answers` may change while it runs, and `silent` makes it say nothing."""

    def __init__(self, address: str, name: str, answers: Answers) -> None:
        self.answers, self.silent, self.asked = dict(answers), False, 0
        self._connection = open_dbus_connection(address)
        reply = self._connection.send_and_get_reply(message_bus.RequestName(name), timeout=5)
        assert reply.body == (1,)
        self._stopping = False
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        self._thread.join(5)
        self._connection.close()

    def _serve(self) -> None:
        while not self._stopping:
            try:
                message = self._connection.receive(timeout=0.05)
            except TimeoutError:
                continue
            except (OSError, ValueError):
                return
            if message.header.message_type is not MessageType.method_call:
                continue
            self.asked += 1
            if self.silent:
                time.sleep(0.01)
                continue
            fields = message.header.fields
            member = fields[HeaderFields.member]
            if member == "Get":
                member = ".".join(message.body)
            known = self.answers.get((fields[HeaderFields.path], member))
            if known is None:
                self._connection.send(new_error(message, "org.freedesktop.DBus.Error.UnknownMethod"))
            else:
                self._connection.send(new_method_return(message, known[0], known[1]))
