"""A desktop of a test's own: a display, a session bus and, where wanted, a tray host; and hands to click with.

Everything of it is a child of the test and ends with it.
"""

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

PICTURES = Path(__file__).parents[1] / "build" / "desktop"
_PATIENCE_S = 30.0
_HOST_TRIES, _HOST_S = 4, 6.0
_SETTLED_S = 0.15


class DesktopSession:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = dict(environment)

    def run(self, *words: str) -> str:
        done = subprocess.run(words, capture_output=True, text=True, env=self.environment, timeout=30, check=True)
        return done.stdout

    def picture(self, name: str) -> Path:
        """A screenshot in build/desktop, kept for people to look at."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        path = PICTURES / f"{name}.png"
        self.run("import", "-window", "root", str(path))
        return path

    def colours(self, name: str) -> set[tuple[int, int, int]]:
        from PIL import Image

        with Image.open(self.picture(name)) as image:
            found = image.convert("RGB").getcolors(1 << 24)
        return {colour for _, colour in found or ()}


@contextmanager
def desktop_session(*, tray_host: bool = True, bus: bool = True) -> Iterator[DesktopSession]:
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GOGRID_", "XDG_", "DBUS_")) and name not in ("DISPLAY", "WAYLAND_DISPLAY")
    }
    children: list[subprocess.Popen[bytes]] = []
    try:
        display = subprocess.Popen(
            ["Xvfb", "-displayfd", "1", "-screen", "0", "800x600x24", "-nolisten", "tcp"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        children.append(display)
        assert display.stdout is not None
        environment |= {"DISPLAY": f":{display.stdout.readline().decode().strip()}", "NO_AT_BRIDGE": "1"}
        if bus:
            words = ("dbus-daemon", "--session", "--nofork", "--print-address=1", "--nopidfile")
            daemon = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
            children.append(daemon)
            assert daemon.stdout is not None
            environment["DBUS_SESSION_BUS_ADDRESS"] = daemon.stdout.readline().decode().strip()
        if tray_host:
            children.append(_tray_host(environment))
        yield DesktopSession(environment)
    finally:
        for child in reversed(children):
            child.terminate()
            child.wait()
            if child.stdout is not None:
                child.stdout.close()


def _tray_host(environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """A panel that owns the tray. One that does not come up on a busy machine is started again."""
    words = ("trayer", "--edge", "top", "--align", "right", "--widthtype", "request", "--height", "32")
    for _ in range(_HOST_TRIES):
        host = subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL)
        began = time.monotonic()
        while host.poll() is None and time.monotonic() - began < _HOST_S:
            if _has_tray(environment["DISPLAY"]):
                return host
            time.sleep(0.05)
        host.kill()
        host.wait()
    raise AssertionError("no tray host comes up")


def _has_tray(display: str) -> bool:
    from Xlib.display import Display

    with contextlib.closing(Display(display)) as opened:
        return bool(opened.get_selection_owner(opened.intern_atom("_NET_SYSTEM_TRAY_S0")))


def wait_until(condition: Callable[[], object], what: str, patience_s: float = _PATIENCE_S) -> float:
    """Returns the seconds it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < patience_s, f"waited for {what}"
        time.sleep(0.02)
    return time.monotonic() - began


def family(pid: int) -> list[psutil.Process]:
    """A process and everything below it."""
    try:
        head = psutil.Process(pid)
        return [head, *head.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


class TrayMenu:
    """The menu of an AppIndicator icon as a panel sees it: `com.canonical.dbusmenu` on the session bus."""

    _PATH = "/org/ayatana/NotificationItem/gogrid_worker/Menu"
    _INTERFACE = "com.canonical.dbusmenu"

    def __init__(self, session: DesktopSession, icon_pid: int) -> None:
        from gi.repository import Gio, GLib

        self._gio, self._glib = Gio, GLib
        flags = Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT | Gio.DBusConnectionFlags.MESSAGE_BUS_CONNECTION
        address = session.environment["DBUS_SESSION_BUS_ADDRESS"]
        self._bus = Gio.DBusConnection.new_for_address_sync(address, flags, None, None)
        self._owner = self._find(icon_pid)

    def _call(self, owner: str, path: str, interface: str, method: str, arguments: object) -> tuple[object, ...]:
        answer = self._bus.call_sync(
            owner, path, interface, method, arguments, None, self._gio.DBusCallFlags.NONE, 5000, None
        )
        return answer.unpack()

    def _find(self, pid: int) -> str:
        daemon = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
        names = self._call(*daemon, "ListNames", None)[0]
        for name in names:
            if name.startswith(":"):
                owner = self._call(*daemon, "GetConnectionUnixProcessID", self._glib.Variant("(s)", (name,)))[0]
                if owner == pid:
                    try:
                        self._layout(name)
                    except self._glib.Error:
                        continue
                    return name
        raise AssertionError("the icon's menu is not on the session bus")

    def _layout(self, owner: str) -> tuple[object, ...]:
        asked = self._glib.Variant("(iias)", (0, -1, []))
        return self._call(owner, self._PATH, self._INTERFACE, "GetLayout", asked)

    def items(self) -> dict[str, tuple[int, dict[str, object]]]:
        """By `Label` or `Menu/Label`: number and properties."""
        found: dict[str, tuple[int, dict[str, object]]] = {}

        def walk(node, above: str) -> None:
            number, properties, children = node
            label = str(properties.get("label", ""))
            name = f"{above}/{label}" if above else label
            if label:
                found[name] = (number, properties)
            for child in children:
                walk(child, name)

        walk(self._layout(self._owner)[1], "")
        return found

    def _later(self) -> dict[str, tuple[int, dict[str, object]]]:
        time.sleep(_SETTLED_S)
        return self.items()

    def labels(self) -> list[str]:
        return list(self.items())

    def checked(self, name: str) -> bool:
        return self.items()[name][1].get("toggle-state") == 1

    def click(self, name: str) -> None:
        """When the menu is no longer being rebuilt, which gives its lines other numbers."""
        self.click_number(self.settled()[name][0])

    def settled(self) -> dict[str, tuple[int, dict[str, object]]]:
        items = self.items()
        while (now := self._later()) != items:
            items = now
        return items

    def click_number(self, number: int) -> None:
        event = self._glib.Variant("(isvu)", (number, "clicked", self._glib.Variant("i", 0), 0))
        self._call(self._owner, self._PATH, self._INTERFACE, "Event", event)
