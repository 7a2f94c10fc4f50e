"""Files that only their user and the system may open: what 0600 means, in an access control list."""

import ctypes
import re
import sys
from pathlib import Path

from gogrid.windows.calls import (
    DWORD,
    HANDLE,
    INVALID_HANDLE,
    POINTER,
    TEXT,
    Calls,
    Handle,
    SecurityAttributes,
    fail,
    last_error,
)
from gogrid.windows.security import DACL, FILE_OBJECT, attributes, described, own_user, private

_GENERIC_WRITE, _READ_CONTROL = 0x40000000, 0x20000
_CREATE_NEW, _OPEN_EXISTING = 1, 3
_SHARE_ALL = 0x7
_ALLOWED = re.compile(r"\(A;[^;]*;[^;]*;[^;]*;[^;]*;([^)]+)\)")
_HARMLESS = frozenset({"SY", "BA", "OW", "CO"})
"""The system, administrators, and whoever owns it: they could help themselves to it in any case."""

_calls = Calls({"CreateFileW": ("kernel32", HANDLE, (TEXT, DWORD, DWORD, POINTER, DWORD, DWORD, HANDLE))})


def create_private(path: Path) -> int:
    """A new file for this user only; its descriptor for `os`, open for writing. Raises OSError."""
    with attributes(private(own_user())) as security:
        handle = _open(path, _GENERIC_WRITE, 0, security, _CREATE_NEW)
    if sys.platform == "win32":
        import msvcrt

        return msvcrt.open_osfhandle(handle, 0)
    else:
        return handle


def others(path: Path) -> frozenset[str]:
    """Who else may touch this file, as SIDs or their short names. Raises OSError."""
    with Handle(_open(path, _READ_CONTROL, _SHARE_ALL, None, _OPEN_EXISTING)) as handle:
        told = described(handle.value, FILE_OBJECT, DACL)
    return frozenset(_ALLOWED.findall(told)) - _HARMLESS - {own_user()}


def _open(path: Path, access: int, share: int, security: SecurityAttributes | None, how: int) -> int:
    reference = ctypes.byref(security) if security is not None else None
    handle: int = _calls.function("CreateFileW")(str(path), access, share, reference, how, 0, None)
    if handle == INVALID_HANDLE:
        fail(f"CreateFileW of {path}", last_error())
    return handle
