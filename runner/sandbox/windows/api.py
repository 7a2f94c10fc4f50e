"""The calls of Windows that the sandbox needs, declared for ctypes; how calls are made is `gogrid.windows.calls`."""

import ctypes
from typing import Any

from gogrid.windows.calls import (
    BOOL,
    BUFFER,
    DWORD,
    HANDLE,
    INSUFFICIENT_BUFFER,
    INVALID_HANDLE,
    POINTER,
    SIZE,
    TEXT,
    WORD,
    BasicLimits,
    Calls,
    ExtendedLimits,
    Handle,
    SecurityAttributes,
    SidAndAttributes,
    fail,
    last_error,
)

__all__ = [
    "INFINITE",
    "INSUFFICIENT_BUFFER",
    "INVALID_HANDLE",
    "WAIT_TIMEOUT",
    "Accounting",
    "BasicLimits",
    "CpuRateControl",
    "ExtendedLimits",
    "Handle",
    "LuidAndAttributes",
    "ProcessInformation",
    "SecurityAttributes",
    "SidAndAttributes",
    "StartupInfo",
    "call",
    "fail",
    "function",
    "last_error",
    "wait_for",
    "windows_folder",
]

INFINITE = 0xFFFFFFFF
WAIT_TIMEOUT = 0x102


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


class LuidAndAttributes(ctypes.Structure):
    """`LUID_AND_ATTRIBUTES`."""

    _fields_ = (("low", DWORD), ("high", ctypes.c_int32), ("attributes", DWORD))


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


_calls = Calls(_DECLARED)
function, call = _calls.function, _calls.call


def windows_folder() -> str:
    """`C:\\Windows`, from the system and not from the environment."""
    text = ctypes.create_unicode_buffer(260)
    call("GetSystemWindowsDirectoryW", text, len(text))
    return text.value


def wait_for(handle: int, milliseconds: int = INFINITE) -> bool:
    """Block until the object is signalled; false when the time is over first."""
    return bool(function("WaitForSingleObject")(handle, milliseconds) != WAIT_TIMEOUT)
