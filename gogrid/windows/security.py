"""Who this process is, and who may touch what it makes: security descriptors in Windows' own notation (SDDL).

`private` lets in the user and the system, nobody else: not administrators of this machine by their group, and nothing
that runs at low integrity, as sandboxes do, not even to read.
"""

import contextlib
import ctypes
from collections.abc import Iterator
from functools import cache

from gogrid.windows.calls import (
    BOOL,
    DWORD,
    HANDLE,
    INSUFFICIENT_BUFFER,
    POINTER,
    TEXT,
    Calls,
    Handle,
    SecurityAttributes,
    SidAndAttributes,
    fail,
    last_error,
)

_QUERY = 0x8
_USER = 1
_SDDL_REVISION = 1
FILE_OBJECT, KERNEL_OBJECT = 1, 6
OWNER, DACL = 0x1, 0x4

_calls = Calls(
    {
        "GetCurrentProcess": ("kernel32", HANDLE, ()),
        "LocalFree": ("kernel32", POINTER, (POINTER,)),
        "OpenProcessToken": ("advapi32", BOOL, (HANDLE, DWORD, POINTER)),
        "GetTokenInformation": ("advapi32", BOOL, (HANDLE, ctypes.c_int, POINTER, DWORD, POINTER)),
        "ConvertSidToStringSidW": ("advapi32", BOOL, (POINTER, POINTER)),
        "ConvertStringSecurityDescriptorToSecurityDescriptorW": ("advapi32", BOOL, (TEXT, DWORD, POINTER, POINTER)),
        "ConvertSecurityDescriptorToStringSecurityDescriptorW": (
            "advapi32",
            BOOL,
            (POINTER, DWORD, DWORD, POINTER, POINTER),
        ),
        "GetSecurityInfo": (
            "advapi32",
            DWORD,
            (HANDLE, ctypes.c_int, DWORD, POINTER, POINTER, POINTER, POINTER, POINTER),
        ),
    }
)


@cache
def own_user() -> str:
    """The SID of the user this process runs as, `S-1-…`. Raises OSError."""
    token = ctypes.c_void_p()
    _calls.call("OpenProcessToken", _calls.function("GetCurrentProcess")(), _QUERY, ctypes.byref(token))
    with Handle(token.value) as own:
        size = ctypes.c_uint32()
        if not _calls.function("GetTokenInformation")(own.value, _USER, None, 0, ctypes.byref(size)):
            code = last_error()
            if code != INSUFFICIENT_BUFFER:
                fail("GetTokenInformation", code)
        buffer = ctypes.create_string_buffer(size.value)
        _calls.call("GetTokenInformation", own.value, _USER, buffer, len(buffer), ctypes.byref(size))
        return _text("ConvertSidToStringSidW", SidAndAttributes.from_buffer(buffer).sid)


def private(user: str) -> str:
    """For a file or a pipe of that user."""
    return f"O:{user}D:P(A;;FA;;;{user})(A;;FA;;;SY)S:(ML;;NRNWNX;;;ME)"


@contextlib.contextmanager
def attributes(descriptor: str) -> Iterator[SecurityAttributes]:
    """To make something with; good inside the `with`. Raises OSError."""
    made = ctypes.c_void_p()
    _calls.call(
        "ConvertStringSecurityDescriptorToSecurityDescriptorW", descriptor, _SDDL_REVISION, ctypes.byref(made), None
    )
    try:
        yield SecurityAttributes(ctypes.sizeof(SecurityAttributes), made.value, False)
    finally:
        _calls.function("LocalFree")(made)


def described(handle: int, kind: int, what: int) -> str:
    """What the system keeps of an open object.

    Args:
        handle: opened so that its descriptor may be read.
        kind: `FILE_OBJECT` or `KERNEL_OBJECT`, which pipes are.
        what: of `OWNER` and `DACL`.

    Raises:
        OSError: it does not say.
    """
    found = ctypes.c_void_p()
    code = _calls.function("GetSecurityInfo")(handle, kind, what, None, None, None, None, ctypes.byref(found))
    if code:
        fail("GetSecurityInfo", code)
    try:
        return _text("ConvertSecurityDescriptorToStringSecurityDescriptorW", found, _SDDL_REVISION, what)
    finally:
        _calls.function("LocalFree")(found)


def _text(call: str, *subject: object) -> str:
    text = ctypes.c_void_p()
    more = (None,) if call.startswith("ConvertSecurity") else ()
    _calls.call(call, *subject, ctypes.byref(text), *more)
    try:
        return ctypes.wstring_at(text.value or 0)
    finally:
        _calls.function("LocalFree")(text)
