"""Calls of Windows through ctypes: declared once with their types, failing with the system's own words.

Imports anywhere. Off Windows every call raises `NotWindowsError`; on Windows a call that fails raises OSError.
"""

import ctypes
import sys
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NoReturn

from gogrid.errors import GoGridError

# As wide on every system as on 64-bit Windows, so that layouts can be checked anywhere; those of `wintypes` are not.
HANDLE, DWORD, BOOL, WORD = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int32, ctypes.c_uint16
POINTER, TEXT, BUFFER, SIZE = ctypes.c_void_p, ctypes.c_wchar_p, ctypes.c_wchar_p, ctypes.c_size_t

INVALID_HANDLE = (1 << 64) - 1
INSUFFICIENT_BUFFER = 122

Declared = Mapping[str, tuple[str, object, tuple[Any, ...]]]
"""For each call: its library, its result, its arguments."""


class NotWindowsError(GoGridError):
    """This is another system."""


class BasicLimits(ctypes.Structure):
    """`JOBOBJECT_BASIC_LIMIT_INFORMATION`."""

    _fields_ = (
        ("process_time", ctypes.c_int64),
        ("job_time", ctypes.c_int64),
        ("flags", DWORD),
        ("least_working_set", SIZE),
        ("most_working_set", SIZE),
        ("processes", DWORD),
        ("affinity", SIZE),
        ("priority", DWORD),
        ("scheduling", DWORD),
    )


class ExtendedLimits(ctypes.Structure):
    """`JOBOBJECT_EXTENDED_LIMIT_INFORMATION`."""

    _fields_ = (
        ("basic", BasicLimits),
        ("io", ctypes.c_uint64 * 6),
        ("process_memory", SIZE),
        ("job_memory", SIZE),
        ("peak_process_memory", SIZE),
        ("peak_job_memory", SIZE),
    )


class SidAndAttributes(ctypes.Structure):
    """`SID_AND_ATTRIBUTES`, and `TOKEN_MANDATORY_LABEL`, which is the same."""

    _fields_ = (("sid", POINTER), ("attributes", DWORD))


class SecurityAttributes(ctypes.Structure):
    """`SECURITY_ATTRIBUTES`."""

    _fields_ = (("length", DWORD), ("descriptor", POINTER), ("inherit", BOOL))


class Calls:
    def __init__(self, declared: Declared) -> None:
        self._declared = declared
        self._found: dict[str, Callable[..., Any]] = {}

    def function(self, name: str) -> Callable[..., Any]:
        """The declared call of that name; gives what Windows returns."""
        if name not in self._found:
            library, result, arguments = self._declared[name]
            found: Any = getattr(_library(library), name)
            found.restype, found.argtypes = result, arguments
            self._found[name] = found
        return self._found[name]

    def call(self, name: str, *arguments: Any) -> Any:
        """Call what returns zero for failure. Raises OSError then."""
        result = self.function(name)(*arguments)
        if not result:
            fail(name, last_error())
        return result


def last_error() -> int:
    """The error code of this thread's last call."""
    if sys.platform == "win32":
        return ctypes.get_last_error()
    else:
        return 0


def fail(name: str, code: int) -> NoReturn:
    """Raise OSError for error `code` of the call `name`."""
    words = ""
    if sys.platform == "win32":
        words = ctypes.FormatError(code).strip()
    raise OSError(f"{name} fails: {words} (error {code})")


class Handle:
    """An open handle, closed once: by `close`, at the end of a `with`, or with the object."""

    def __init__(self, value: int | None) -> None:
        self._value = value or 0

    @property
    def value(self) -> int:
        """Raises ValueError if it is closed."""
        if not self._value:
            raise ValueError("this handle is closed")
        return self._value

    @property
    def closed(self) -> bool:
        return not self._value

    def close(self) -> None:
        value, self._value = self._value, 0
        if value:
            _BASE.function("CloseHandle")(value)

    def __enter__(self) -> "Handle":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


@cache
def _library(name: str) -> ctypes.CDLL:
    if sys.platform == "win32":
        return ctypes.WinDLL(name, use_last_error=True)
    else:
        raise NotWindowsError("This is for Windows, and this machine runs another system.")


_BASE = Calls({"CloseHandle": ("kernel32", BOOL, (HANDLE,))})
