"""Who on the message bus knows how long its user has been idle: GNOME, KDE and their kin, and logind.

logind only repeats what the desktop tells it. One that never told it anything (`IdleSinceHint` 0) is as good as none.
"""

import time
from typing import Any

from jeepney import DBusAddress

from runner.errors import RunnerError
from runner.gates.probes.base import LostError
from runner.gates.probes.message_bus import MessageBus

_MUTTER = DBusAddress(
    "/org/gnome/Mutter/IdleMonitor/Core", "org.gnome.Mutter.IdleMonitor", "org.gnome.Mutter.IdleMonitor"
)
_SCREENSAVER = DBusAddress("/org/freedesktop/ScreenSaver", "org.freedesktop.ScreenSaver", "org.freedesktop.ScreenSaver")
_LOGIN = "org.freedesktop.login1"
_PROPERTIES = "org.freedesktop.DBus.Properties"


class MutterIdle:
    """GNOME Shell. Implements `Desktop`."""

    name = "GNOME's idle monitor"

    def __init__(self, address: str) -> None:
        self._bus = MessageBus(address)

    def idle_s(self) -> float:
        return float(self._bus.call(_MUTTER, "GetIdletime")[0]) / 1000

    def close(self) -> None:
        self._bus.close()


class ScreenSaverIdle:
    """KDE and others. Implements `Desktop`.

    The interface says seconds, KDE answers milliseconds. Taken as the latter: a desktop that means seconds keeps the
    worker paused for too long, never too short.
    """

    name = "the desktop's screen saver"

    def __init__(self, address: str) -> None:
        self._bus = MessageBus(address)

    def idle_s(self) -> float:
        return float(self._bus.call(_SCREENSAVER, "GetSessionIdleTime")[0]) / 1000

    def close(self) -> None:
        self._bus.close()


class LogindIdle:
    """The graphical session of this user. Implements `Desktop`."""

    name = "logind's idle hint"

    def __init__(self, user: int, address: str) -> None:
        """Raises `LostError` if this user has no graphical session.

        Args:
            address: of the system bus.
        """
        self._bus = MessageBus(address)
        try:
            self._session = self._graphical_session(user)
        except RunnerError:
            self.close()
            raise

    def idle_s(self) -> float:
        """On the clock of the wall, as logind has it."""
        hint = self._property(self._session, f"{_LOGIN}.Session", "IdleHint")
        since_us = self._property(self._session, f"{_LOGIN}.Session", "IdleSinceHint")
        if not since_us:
            raise LostError("The desktop never tells logind whether it is idle.")
        return max(0.0, time.time() - since_us / 1e6) if hint else 0.0

    def close(self) -> None:
        self._bus.close()

    def _graphical_session(self, user: int) -> str:
        """Its path."""
        manager = DBusAddress("/org/freedesktop/login1", _LOGIN, f"{_LOGIN}.Manager")
        path = self._bus.call(manager, "GetUser", "u", user)[0]
        session, where = self._property(path, f"{_LOGIN}.User", "Display")
        if not session:
            raise LostError("This user has no graphical session.")
        return str(where)

    def _property(self, path: str, interface: str, name: str) -> Any:
        return self._bus.call(DBusAddress(path, _LOGIN, _PROPERTIES), "Get", "ss", interface, name)[0][1]
