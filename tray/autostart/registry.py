"""The registry of this Windows user, for `windows.py`. Imported on Windows only."""

import sys

assert sys.platform == "win32"  # noqa: S101  # tells the type checker which standard library this is

import winreg  # noqa: E402


class RealRegistry:
    """Implements `tray.autostart.windows.UserRegistry`."""

    def read(self, key: str, name: str) -> str | bytes | None:
        try:
            with winreg.OpenKey(winreg.HKEY_CURRENT_USER, key) as opened:
                value, _ = winreg.QueryValueEx(opened, name)
        except FileNotFoundError:
            return None
        return value if isinstance(value, str | bytes) else str(value)

    def write(self, key: str, name: str, value: str) -> None:
        with winreg.CreateKey(winreg.HKEY_CURRENT_USER, key) as opened:
            winreg.SetValueEx(opened, name, 0, winreg.REG_SZ, value)

    def delete(self, key: str, name: str) -> None:
        try:
            with winreg.OpenKey(winreg.HKEY_CURRENT_USER, key, 0, winreg.KEY_SET_VALUE) as opened:
                winreg.DeleteValue(opened, name)
        except FileNotFoundError:
            return
