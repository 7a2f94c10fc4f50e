"""Linux: an entry for the desktop's autostart, or a unit of the user's systemd where there is no desktop.

A desktop of any kind reads `autostart/`, and not every one has a `graphical-session.target`: a unit would start too
early for an icon, or never. A machine without a desktop starts the unit at login, or at boot where its owner has said
`loginctl enable-linger`. Switched off, neither is left.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from tray.autostart.base import AutostartError, Run

NAME = "gogrid-worker"
_BARE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=+.,/:@")


def desktop_entry(program: Sequence[str]) -> str:
    """The text of `gogrid-worker.desktop`."""
    return "\n".join(
        (
            "[Desktop Entry]",
            "Type=Application",
            "Name=GoGrid Worker",
            "Comment=Lends this machine's idle GPU to your own coordinator",
            f"Exec={' '.join(map(_desktop_word, program))}",
            "Icon=gogrid-worker",
            "Terminal=false",
            "X-GNOME-Autostart-enabled=true",
            "",
        )
    )


def systemd_unit(program: Sequence[str]) -> str:
    """The text of `gogrid-worker.service`."""
    return "\n".join(
        (
            "[Unit]",
            "Description=GoGrid Worker",
            "After=network.target",
            "",
            "[Service]",
            f"ExecStart={' '.join(map(_systemd_word, program))}",
            "Restart=on-failure",
            "RestartPreventExitStatus=1 2",
            "RestartSec=10",
            "TimeoutStopSec=30",
            "KillMode=mixed",
            "Nice=5",
            "",
            "[Install]",
            "WantedBy=default.target",
            "",
        )
    )


def is_on(entry: str) -> bool:
    """Whether a desktop would start this entry: its owner may have disabled it in the desktop's settings."""
    lines = {line.replace(" ", "").lower() for line in entry.splitlines()}
    return not lines & {"hidden=true", "x-gnome-autostart-enabled=false"}


class LinuxAutostart:
    """Implements `Autostart`."""

    def __init__(self, program: Sequence[str], environment: Mapping[str, str], home: Path, run: Run) -> None:
        """Args: `program` is started with these words; `environment` says whether there is a desktop."""
        self._program, self._run = program, run
        config = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
        config = config if config.is_absolute() else home / ".config"
        units = config / "systemd" / "user"
        self._entry = config / "autostart" / f"{NAME}.desktop"
        self._unit = units / f"{NAME}.service"
        self._wanted = units / "default.target.wants" / f"{NAME}.service"
        variables = ("DISPLAY", "WAYLAND_DISPLAY", "XDG_CURRENT_DESKTOP")
        self._desktop = any(environment.get(name) for name in variables)
        runtime = environment.get("XDG_RUNTIME_DIR")
        self._systemd = bool(runtime) and Path(str(runtime), "systemd").is_dir()

    def state(self) -> bool | str:
        if os.path.lexists(self._wanted):
            return True
        try:
            return is_on(self._entry.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            pass
        if self._desktop or self._systemd:
            return False
        return "There is neither a desktop nor a systemd of this user here; start gogrid-worker from your own scripts."

    def set(self, *, on: bool) -> None:
        try:
            for path in (self._entry, self._wanted, self._unit):
                path.unlink(missing_ok=True)
            if on:
                self._switch_on()
        except OSError as error:
            where = error.filename or self._entry
            raise AutostartError(f"Start at login cannot be changed: {where}: {error.strerror or error}.") from error
        self._run(("systemctl", "--user", "daemon-reload"))

    def _switch_on(self) -> None:
        if self._desktop or not self._systemd:
            if not self._desktop:
                raise AutostartError(str(self.state()))
            _write(self._entry, desktop_entry(self._program))
            return
        _write(self._unit, systemd_unit(self._program))
        self._wanted.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._wanted.symlink_to(self._unit)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_text(text, encoding="utf-8")


def _desktop_word(word: str) -> str:
    """Quoted as the Desktop Entry Specification says: reserved characters inside quotes, and `%` doubled."""
    _check(word)
    if word and set(word) <= _BARE:
        return word
    quoted = "".join(f"\\\\{one}" if one in '"`$' else "\\\\\\\\" if one == "\\" else one for one in word)
    return f'"{quoted}"'.replace("%", "%%")


def _systemd_word(word: str) -> str:
    _check(word)
    if word and set(word) <= _BARE:
        return word
    quoted = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{quoted}"'


def _check(word: str) -> None:
    if any(ord(one) < 32 for one in word):
        raise AutostartError("The path of this program holds a line break or another control character; move it first.")
