"""A Mac's session: last input by Quartz, and who keeps the display on by its power assertions, by ctypes."""

import ctypes
from ctypes import c_bool, c_char_p, c_double, c_int32, c_uint32, c_void_p
from typing import Any

from runner.gates.probes.base import LostError

_HID_STATE = 1
_ANY_INPUT = 0xFFFFFFFF
_UTF8 = 0x08000100
_INT32 = 3
_ASSERTIONS = ("PreventUserIdleDisplaySleep", "NoDisplaySleepAssertion")
_FRAMEWORKS = "/System/Library/Frameworks/{0}.framework/{0}"


class MacDesktop:
    """Implements `Desktop` and `Screen`. Which window fills the screen is not asked: it needs the owner's consent."""

    name = "macOS"

    def __init__(self) -> None:
        """Raises `LostError` where the frameworks cannot be loaded."""
        try:
            self._events = ctypes.CDLL(_FRAMEWORKS.format("ApplicationServices"))
            self._power = ctypes.CDLL(_FRAMEWORKS.format("IOKit"))
            self._core = ctypes.CDLL(_FRAMEWORKS.format("CoreFoundation"))
        except OSError as error:
            raise LostError(f"macOS does not tell when it was used last ({error}).") from error
        declare(self._events, "CGEventSourceSecondsSinceLastEventType", c_double, c_int32, c_uint32)
        declare(self._power, "IOPMCopyAssertionsStatus", c_int32, ctypes.POINTER(c_void_p))
        declare(self._core, "CFDictionaryGetValue", c_void_p, c_void_p, c_void_p)
        declare(self._core, "CFStringCreateWithCString", c_void_p, c_void_p, c_char_p, c_uint32)
        declare(self._core, "CFNumberGetValue", c_bool, c_void_p, c_int32, c_void_p)
        declare(self._core, "CFRelease", None, c_void_p)

    def idle_s(self) -> float:
        return float(self._events.CGEventSourceSecondsSinceLastEventType(_HID_STATE, _ANY_INPUT))

    def fullscreen(self) -> bool | None:
        return None

    def kept_on(self) -> bool | None:
        status = c_void_p()
        if self._power.IOPMCopyAssertionsStatus(ctypes.byref(status)) != 0 or not status.value:
            return None
        try:
            return any(self._count(status, name) for name in _ASSERTIONS)
        finally:
            self._core.CFRelease(status)

    def close(self) -> None:
        """Nothing is held."""

    def _count(self, status: c_void_p, name: str) -> int:
        key = c_void_p(self._core.CFStringCreateWithCString(None, name.encode(), _UTF8))
        try:
            number = self._core.CFDictionaryGetValue(status, key)
        finally:
            self._core.CFRelease(key)
        value = c_int32(0)
        if not number or not self._core.CFNumberGetValue(c_void_p(number), _INT32, ctypes.byref(value)):
            return 0
        return value.value


def declare(library: ctypes.CDLL, name: str, result: Any, *arguments: Any) -> None:
    """A C function's types, without which ctypes would cut pointers in half."""
    function = getattr(library, name)
    function.restype, function.argtypes = result, arguments
