"""A Windows session: last input, full-screen programs and who keeps the screen on, asked of the system by ctypes."""

import ctypes

from runner.gates.probes.base import LostError

_FULLSCREEN = frozenset({2, 3, 4})
"""QUNS_BUSY, QUNS_RUNNING_D3D_FULL_SCREEN, QUNS_PRESENTATION_MODE."""
_SYSTEM_EXECUTION_STATE = 16
_ES_DISPLAY_REQUIRED = 2
_TICKS = 1 << 32


class _LastInput(ctypes.Structure):
    _fields_ = (("size", ctypes.c_uint32), ("tick", ctypes.c_uint32))


class WindowsDesktop:
    """Implements `Desktop` and `Screen`."""

    name = "Windows"

    def __init__(self) -> None:
        libraries = ctypes.windll  # type: ignore[attr-defined,unused-ignore]
        self._user, self._kernel = libraries.user32, libraries.kernel32
        self._shell, self._power = libraries.shell32, libraries.powrprof
        self._kernel.GetTickCount.restype = ctypes.c_uint32

    def idle_s(self) -> float:
        """Raises `LostError` in a session without input, as a service's is."""
        last = _LastInput(ctypes.sizeof(_LastInput), 0)
        if not self._user.GetLastInputInfo(ctypes.byref(last)):
            raise LostError("Windows does not tell when it was used last.")
        return float((self._kernel.GetTickCount() - last.tick) % _TICKS) / 1000

    def fullscreen(self) -> bool | None:
        state = ctypes.c_int(0)
        failed = self._shell.SHQueryUserNotificationState(ctypes.byref(state))
        return None if failed else state.value in _FULLSCREEN

    def kept_on(self) -> bool | None:
        flags = ctypes.c_uint32(0)
        failed = self._power.CallNtPowerInformation(
            _SYSTEM_EXECUTION_STATE, None, 0, ctypes.byref(flags), ctypes.sizeof(flags)
        )
        return None if failed else bool(flags.value & _ES_DISPLAY_REQUIRED)

    def close(self) -> None:
        """Nothing is held."""
