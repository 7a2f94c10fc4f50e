"""Whether a program keeps the screen from going dark, asked of the session: a video, slides, a call.

GNOME's session manager and the power management service of KDE and Xfce answer; a service that is not there is not
asked again.
"""

from jeepney import DBusAddress

from runner.gates.probes.base import LostError
from runner.gates.probes.message_bus import MessageBus

_GNOME = DBusAddress("/org/gnome/SessionManager", "org.gnome.SessionManager", "org.gnome.SessionManager")
_GNOME_IDLE = 8
_POWER = DBusAddress(
    "/org/freedesktop/PowerManagement/Inhibit",
    "org.freedesktop.PowerManagement",
    "org.freedesktop.PowerManagement.Inhibit",
)

_Question = tuple[DBusAddress, str, str, tuple[int, ...]]


class Inhibitors:
    """Implements `Screen`."""

    def __init__(self, address: str) -> None:
        self._bus = MessageBus(address)
        self._asked: tuple[_Question, ...] = (
            (_GNOME, "IsInhibited", "u", (_GNOME_IDLE,)),
            (_POWER, "HasInhibit", "", ()),
        )

    def fullscreen(self) -> bool | None:
        return None

    def kept_on(self) -> bool | None:
        """Raises `NoAnswerError`, or `LostError` when the bus is gone."""
        for who in self._asked:
            place, method, signature, body = who
            try:
                if self._bus.call(place, method, signature, *body)[0]:
                    return True
            except LostError:
                self._asked = tuple(other for other in self._asked if other is not who)
        return False if self._asked else None

    def close(self) -> None:
        self._bus.close()
