"""D-Bus, spoken through jeepney: one call, one answer, never longer than half a second."""

from typing import Any

from jeepney import DBusAddress, HeaderFields, MessageFlag, MessageType, new_method_call
from jeepney.io.blocking import open_dbus_connection

from runner.gates.probes.base import LostError, NoAnswerError

TIMEOUT_S = 0.5
_GONE = frozenset(
    f"org.freedesktop.DBus.Error.{name}"
    for name in ("ServiceUnknown", "NameHasNoOwner", "UnknownMethod", "UnknownObject", "UnknownInterface",
                 "UnknownProperty", "AccessDenied", "NotSupported", "InvalidArgs", "Spawn.ServiceNotFound")
)  # fmt: skip
"""Answers that will be the same the next time."""


class MessageBus:
    def __init__(self, address: str) -> None:
        """Raises `LostError` if there is no bus."""
        try:
            self._connection = open_dbus_connection(address, auth_timeout=TIMEOUT_S)
        except (OSError, ValueError, RuntimeError, StopIteration) as error:
            raise LostError(f"No message bus answers at {address}.") from error

    def call(self, place: DBusAddress, method: str, signature: str = "", *body: object) -> tuple[Any, ...]:
        """What it answers.

        Raises:
            LostError: nobody there does that.
            NoAnswerError: whoever does it did not answer in time.
        """
        message = new_method_call(place, method, signature or None, body)
        message.header.flags |= MessageFlag.no_auto_start  # looking starts nothing
        try:
            reply = self._connection.send_and_get_reply(message, timeout=TIMEOUT_S)
        except TimeoutError as error:
            raise NoAnswerError(f"{place.bus_name} on the message bus does not answer.") from error
        except (OSError, ValueError, RuntimeError) as error:
            raise LostError("The message bus is gone.") from error
        if reply.header.message_type is MessageType.error:
            name = reply.header.fields.get(HeaderFields.error_name, "")
            problem = LostError if name in _GONE else NoAnswerError
            raise problem(f"{place.bus_name} on the message bus answers {name}.")
        return tuple(reply.body)

    def close(self) -> None:
        self._connection.close()
