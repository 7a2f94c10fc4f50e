"""A real message bus, and small services on it that answer what the test says, as a desktop's would."""

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping

from jeepney import HeaderFields, MessageType, message_bus, new_error, new_method_return
from jeepney.io.blocking import open_dbus_connection

from tests.fakes.threaded import Threaded

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


class Service(Threaded):
    """Owns a name on the bus; `answers` may change while it runs, and `silent` makes it say nothing."""

    def __init__(self, address: str, name: str, answers: Answers) -> None:
        super().__init__()
        self.answers, self.silent, self.asked = dict(answers), False, 0
        self._connection = open_dbus_connection(address)
        reply = self._connection.send_and_get_reply(message_bus.RequestName(name), timeout=5)
        assert reply.body == (1,)
        self._stopping = False

    def _end(self) -> None:
        self._stopping = True

    def _serve(self) -> None:
        with contextlib.closing(self._connection):
            self._answer_all()

    def _answer_all(self) -> None:
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
