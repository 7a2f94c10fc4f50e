"""Whether this desktop can show a tray icon, and on which colour it will lie.

On Linux three things have to be there: a display, a session bus, and somebody who shows icons: either a StatusNotifier
host (KDE, or GNOME with its AppIndicator extension) or, under X11, an owner of the old tray's selection.
"""

import ctypes
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from tray.gtk import gtk_advice

_WATCHER = "org.kde.StatusNotifierWatcher"
_ANSWER_MS = 2000


@dataclass(frozen=True, slots=True)
class CannotShow:
    reason: str
    """One sentence."""
    display: bool = True
    """There is a display at all."""


def why_no_tray() -> CannotShow | None:
    """None: an icon can be shown. Starts nothing, and asks no bus that would have to be started first."""
    if sys.platform != "linux":
        return None
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return CannotShow("There is no display here.", display=False)
    os.environ.setdefault("GDK_GL", "disable")  # nothing here is drawn by a GPU, and its driver weighs 25 MB
    bus = bool(os.environ.get("DBUS_SESSION_BUS_ADDRESS")) or _user_bus().exists()
    if not bus:
        # GTK would start one while it is imported, and a second one for screen readers, which nobody would end.
        os.environ.update({"DBUS_SESSION_BUS_ADDRESS": "disabled:", "NO_AT_BRIDGE": "1"})
    try:
        import gi

        gi.require_version("Gtk", "3.0")
        from gi.repository import GLib, Gtk
    except (ImportError, ValueError) as error:
        what = gtk_advice("python3-gi and gir1.2-gtk-3.0", error)
        return CannotShow(f"Python's bindings for GTK 3 are missing ({error}); {what}.")
    GLib.set_prgname("gogrid-worker")
    if not Gtk.init_check()[0]:
        return CannotShow("The display cannot be reached.", display=False)
    return _why_no_host() if bus else CannotShow("There is no session bus.")


def _why_no_host() -> CannotShow | None:
    from gi.repository import Gio, GLib

    try:
        bus = Gio.bus_get_sync(Gio.BusType.SESSION, None)
    except GLib.Error:
        return CannotShow("There is no session bus.")
    try:
        registered = bus.call_sync(
            _WATCHER,
            "/StatusNotifierWatcher",
            "org.freedesktop.DBus.Properties",
            "Get",
            GLib.Variant("(ss)", (_WATCHER, "IsStatusNotifierHostRegistered")),
            None,
            Gio.DBusCallFlags.NO_AUTO_START,
            _ANSWER_MS,
            None,
        ).unpack()[0]
    except GLib.Error:
        registered = False  # there is nobody of that name
    if registered:
        return None
    if os.environ.get("DISPLAY") and os.environ.get("XDG_SESSION_TYPE") != "wayland" and _x11_tray():
        return None
    return CannotShow("This desktop shows no tray icons; on GNOME its AppIndicator extension does.")


def _user_bus() -> Path:
    return Path(os.environ.get("XDG_RUNTIME_DIR") or "/nonexistent") / "bus"


def _x11_tray() -> bool:
    """Whether a panel owns the selection of the tray on this display's first screen."""
    try:
        x11 = ctypes.CDLL("libX11.so.6")
    except OSError:
        return False
    x11.XOpenDisplay.restype = ctypes.c_void_p
    x11.XInternAtom.restype = x11.XGetSelectionOwner.restype = ctypes.c_ulong
    display = x11.XOpenDisplay(None)
    if not display:
        return False
    try:
        atom = x11.XInternAtom(ctypes.c_void_p(display), b"_NET_SYSTEM_TRAY_S0", 0)
        return bool(x11.XGetSelectionOwner(ctypes.c_void_p(display), ctypes.c_ulong(atom)))
    finally:
        x11.XCloseDisplay(ctypes.c_void_p(display))


def dark_panel() -> bool:
    """Whether the icon lies on a dark colour; yes where nobody knows, as most panels are."""
    if sys.platform == "win32":
        import winreg

        try:
            with winreg.OpenKey(
                winreg.HKEY_CURRENT_USER, r"Software\Microsoft\Windows\CurrentVersion\Themes\Personalize"
            ) as key:
                return winreg.QueryValueEx(key, "SystemUsesLightTheme")[0] == 0
        except OSError:
            return True
    elif sys.platform == "darwin":
        return True
    else:
        from gi.repository import Gtk

        settings = Gtk.Settings.get_default()
        if settings is None or os.environ.get("XDG_CURRENT_DESKTOP", "").upper().endswith("GNOME"):
            return True  # its top bar is black in either theme
        theme = str(settings.get_property("gtk-theme-name")).lower()
        return bool(settings.get_property("gtk-application-prefer-dark-theme")) or "dark" in theme
