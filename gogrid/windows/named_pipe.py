"""Named pipes that only their user and the system may open, on this machine only."""

import ctypes

from gogrid.windows.calls import DWORD, HANDLE, INVALID_HANDLE, POINTER, TEXT, Calls, fail, last_error
from gogrid.windows.security import attributes, own_user, private

FILE_NOT_FOUND, ACCESS_DENIED, BROKEN_PIPE, PIPE_BUSY = 2, 5, 109, 231
ANONYMOUS_CLIENT = 0x100000
"""For `CreateFile`: the pipe's server learns nothing of who asks, and cannot act in their name."""
_DUPLEX, _OVERLAPPED, _FIRST_INSTANCE = 0x3, 0x40000000, 0x80000
_REJECT_REMOTE_CLIENTS = 0x8
_UNLIMITED_INSTANCES = 255
_BUFFER = 1 << 16

_calls = Calls(
    {"CreateNamedPipeW": ("kernel32", HANDLE, (TEXT, DWORD, DWORD, DWORD, DWORD, DWORD, DWORD, POINTER))},
)


class NameTakenError(OSError):
    """Another program has a pipe of this name."""


def new_pipe(name: str, *, first: bool) -> int:
    """The handle of one more instance, for overlapped bytes both ways.

    Args:
        first: there must be none of this name yet.

    Raises:
        NameTakenError: there is one, or one that is not ours.
        OSError: Windows refuses for another reason.
    """
    with attributes(private(own_user())) as security:
        handle: int | None = _calls.function("CreateNamedPipeW")(
            name,
            _DUPLEX | _OVERLAPPED | (_FIRST_INSTANCE if first else 0),
            _REJECT_REMOTE_CLIENTS,
            *(_UNLIMITED_INSTANCES, _BUFFER, _BUFFER, 0),
            ctypes.byref(security),
        )
        code = last_error()
    if handle is None or handle == INVALID_HANDLE:
        if code == ACCESS_DENIED:
            raise NameTakenError(f"Another program listens on {name}")
        fail("CreateNamedPipeW", code)
    return handle
