"""The calls of Windows that the sandbox needs, declared for ctypes; nothing else in GoGrid declares one.

Imports anywhere. Off Windows every call raises `SandboxUnavailableError`; on Windows a call that fails raises OSError
with the system's own words.
"""

import ctypes
import sys
from collections.abc import Callable
from functools import cache
from typing import Any, NoReturn

from runner.errors import SandboxUnavailableError

# As wide on every system as on 64-bit Windows, so that layouts can be checked anywhere; those of `wintypes` are not.
HANDLE, DWORD, BOOL, WORD = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int32, ctypes.c_uint16
POINTER, TEXT, BUFFER, SIZE = ctypes.c_void_p, ctypes.c_wchar_p, ctypes.c_wchar_p, ctypes.c_size_t

INFINITE = 0xFFFFFFFF
INVALID_HANDLE = (1 << 64) - 1
WAIT_TIMEOUT = 0x102
INSUFFICIENT_BUFFER = 122


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


class Accounting(ctypes.Structure):
    """`JOBOBJECT_BASIC_ACCOUNTING_INFORMATION`."""

    _fields_ = (
        ("times", ctypes.c_int64 * 4),
        ("page_faults", DWORD),
        ("total_processes", DWORD),
        ("active_processes", DWORD),
        ("terminated_processes", DWORD),
    )


class CpuRateControl(ctypes.Structure):
    """`JOBOBJECT_CPU_RATE_CONTROL_INFORMATION`."""

    _fields_ = (("flags", DWORD), ("rate", DWORD))


class SidAndAttributes(ctypes.Structure):
    """`SID_AND_ATTRIBUTES`, and `TOKEN_MANDATORY_LABEL`, which is the same."""

    _fields_ = (("sid", POINTER), ("attributes", DWORD))


class LuidAndAttributes(ctypes.Structure):
    """`LUID_AND_ATTRIBUTES`."""

    _fields_ = (("low", DWORD), ("high", ctypes.c_int32), ("attributes", DWORD))


class SecurityAttributes(ctypes.Structure):
    """`SECURITY_ATTRIBUTES`."""

    _fields_ = (("length", DWORD), ("descriptor", POINTER), ("inherit", BOOL))


class StartupInfo(ctypes.Structure):
    """`STARTUPINFOEXW`."""

    _fields_ = (
        ("size", DWORD),
        ("reserved", POINTER),
        ("desktop", POINTER),
        ("title", POINTER),
        ("places", DWORD * 7),
        ("flags", DWORD),
        ("show", WORD),
        ("reserved_size", WORD),
        ("reserved_bytes", POINTER),
        ("stdin", HANDLE),
        ("stdout", HANDLE),
        ("stderr", HANDLE),
        ("attributes", POINTER),
    )


class ProcessInformation(ctypes.Structure):
    """`PROCESS_INFORMATION`."""

    _fields_ = (("process", HANDLE), ("thread", HANDLE), ("process_id", DWORD), ("thread_id", DWORD))


_DECLARED: dict[str, tuple[str, object, tuple[Any, ...]]] = {
    "CloseHandle": ("kernel32", BOOL, (HANDLE,)),
    "GetCurrentProcess": ("kernel32", HANDLE, ()),
    "GetHandleInformation": ("kernel32", BOOL, (HANDLE, POINTER)),
    "SetHandleInformation": ("kernel32", BOOL, (HANDLE, DWORD, DWORD)),
    "GetSystemWindowsDirectoryW": ("kernel32", DWORD, (BUFFER, DWORD)),
    "CreateFileW": ("kernel32", HANDLE, (TEXT, DWORD, DWORD, POINTER, DWORD, DWORD, HANDLE)),
    "CreateDirectoryW": ("kernel32", BOOL, (TEXT, POINTER)),
    "LocalFree": ("kernel32", POINTER, (POINTER,)),
    "CreateJobObjectW": ("kernel32", HANDLE, (POINTER, TEXT)),
    "SetInformationJobObject": ("kernel32", BOOL, (HANDLE, ctypes.c_int, POINTER, DWORD)),
    "QueryInformationJobObject": ("kernel32", BOOL, (HANDLE, ctypes.c_int, POINTER, DWORD, POINTER)),
    "TerminateJobObject": ("kernel32", BOOL, (HANDLE, DWORD)),
    "IsProcessInJob": ("kernel32", BOOL, (HANDLE, HANDLE, POINTER)),
    "InitializeProcThreadAttributeList": ("kernel32", BOOL, (POINTER, DWORD, DWORD, POINTER)),
    "UpdateProcThreadAttribute": ("kernel32", BOOL, (POINTER, DWORD, SIZE, POINTER, SIZE, POINTER, POINTER)),
    "DeleteProcThreadAttributeList": ("kernel32", None, (POINTER,)),
    "CreateProcessAsUserW": (
        "advapi32",
        BOOL,
        (HANDLE, TEXT, BUFFER, POINTER, POINTER, BOOL, DWORD, POINTER, TEXT, POINTER, POINTER),
    ),
    "ResumeThread": ("kernel32", DWORD, (HANDLE,)),
    "TerminateProcess": ("kernel32", BOOL, (HANDLE, DWORD)),
    "WaitForSingleObject": ("kernel32", DWORD, (HANDLE, DWORD)),
    "GetExitCodeProcess": ("kernel32", BOOL, (HANDLE, POINTER)),
    "VirtualAlloc": ("kernel32", POINTER, (POINTER, SIZE, DWORD, DWORD)),
    "OpenProcessToken": ("advapi32", BOOL, (HANDLE, DWORD, POINTER)),
    "CreateRestrictedToken": (
        "advapi32",
        BOOL,
        (HANDLE, DWORD, DWORD, POINTER, DWORD, POINTER, DWORD, POINTER, POINTER),
    ),
    "GetTokenInformation": ("advapi32", BOOL, (HANDLE, ctypes.c_int, POINTER, DWORD, POINTER)),
    "SetTokenInformation": ("advapi32", BOOL, (HANDLE, ctypes.c_int, POINTER, DWORD)),
    "LookupPrivilegeNameW": ("advapi32", BOOL, (TEXT, POINTER, BUFFER, POINTER)),
    "ConvertSidToStringSidW": ("advapi32", BOOL, (POINTER, POINTER)),
    "ConvertStringSidToSidW": ("advapi32", BOOL, (TEXT, POINTER)),
    "GetLengthSid": ("advapi32", DWORD, (POINTER,)),
    "ConvertStringSecurityDescriptorToSecurityDescriptorW": ("advapi32", BOOL, (TEXT, DWORD, POINTER, POINTER)),
    "GetSecurityDescriptorDacl": ("advapi32", BOOL, (POINTER, POINTER, POINTER, POINTER)),
    "GetSecurityDescriptorSacl": ("advapi32", BOOL, (POINTER, POINTER, POINTER, POINTER)),
    "SetSecurityInfo": ("advapi32", DWORD, (HANDLE, ctypes.c_int, DWORD, POINTER, POINTER, POINTER, POINTER)),
    "GetSecurityInfo": (
        "advapi32",
        DWORD,
        (HANDLE, ctypes.c_int, DWORD, POINTER, POINTER, POINTER, POINTER, POINTER),
    ),
    "ConvertSecurityDescriptorToStringSecurityDescriptorW": (
        "advapi32",
        BOOL,
        (POINTER, DWORD, DWORD, POINTER, POINTER),
    ),
}


@cache
def function(name: str) -> Callable[..., Any]:
    """The declared call of that name; gives what Windows returns."""
    library, result, arguments = _DECLARED[name]
    found: Any = getattr(_library(library), name)
    found.restype, found.argtypes = result, arguments
    return found  # type: ignore[no-any-return]


def call(name: str, *arguments: Any) -> Any:
    """Call what returns zero for failure. Raises OSError then."""
    result = function(name)(*arguments)
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
            function("CloseHandle")(value)

    def __enter__(self) -> "Handle":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


def windows_folder() -> str:
    """`C:\\Windows`, from the system and not from the environment."""
    text = ctypes.create_unicode_buffer(260)
    call("GetSystemWindowsDirectoryW", text, len(text))
    return text.value


def wait_for(handle: int, milliseconds: int = INFINITE) -> bool:
    """Block until the object is signalled; false when the time is over first."""
    return bool(function("WaitForSingleObject")(handle, milliseconds) != WAIT_TIMEOUT)


@cache
def _library(name: str) -> ctypes.CDLL:
    if sys.platform == "win32":
        return ctypes.WinDLL(name, use_last_error=True)
    else:
        raise SandboxUnavailableError("This is the sandbox of Windows, and this machine runs another system.")
