"""Every number and layout that GoGrid writes down for Windows is the one in Windows' headers (those of MinGW-w64).

Run by `make test-windows`. Wine takes most of them without a look, so a slip would show on a real machine first. The
compiler checks them as static assertions; nothing is run.
"""
# ruff: noqa: S101 - a test that lies outside tests/, because it needs a compiler that `make test` does not

import ctypes
import shutil
import subprocess
from collections.abc import Iterator

from gogrid.windows import console as windows_console
from gogrid.windows import named_pipe as windows_pipe
from gogrid.windows import private_file as windows_files
from gogrid.windows import security as windows_security
from runner.sandbox.windows import api as windows_api
from runner.sandbox.windows import job as windows_job
from runner.sandbox.windows import process as windows_process
from runner.sandbox.windows import token as windows_token
from sandbox_profiles import windows
from tray.supervision import windows_job as children_job

_COMPILER = "x86_64-w64-mingw32-gcc"
_CREATION = {
    "SUSPENDED": "CREATE_SUSPENDED",
    "DETACHED": "DETACHED_PROCESS",
    "UNICODE_ENVIRONMENT": "CREATE_UNICODE_ENVIRONMENT",
    "BELOW_NORMAL_PRIORITY": "BELOW_NORMAL_PRIORITY_CLASS",
    "EXTENDED_STARTUP_INFO": "EXTENDED_STARTUPINFO_PRESENT",
    "BREAKAWAY_FROM_JOB": "CREATE_BREAKAWAY_FROM_JOB",
}
_UI = {"SYSTEM_PARAMETERS": "SYSTEMPARAMETERS", "DISPLAY_SETTINGS": "DISPLAYSETTINGS"} | {
    "READ_CLIPBOARD": "READCLIPBOARD",
    "WRITE_CLIPBOARD": "WRITECLIPBOARD",
    "GLOBAL_ATOMS": "GLOBALATOMS",
    "EXIT_WINDOWS": "EXITWINDOWS",
}
_CONSTANTS = (
    ("JobObjectBasicAccountingInformation", windows_job._ACCOUNTING),
    ("JobObjectBasicUIRestrictions", windows_job._UI_RESTRICTIONS),
    ("JobObjectExtendedLimitInformation", windows_job._EXTENDED_LIMITS),
    ("JobObjectCpuRateControlInformation", windows_job._CPU_RATE),
    ("PROC_THREAD_ATTRIBUTE_HANDLE_LIST", windows_process._HANDLE_LIST),
    ("PROC_THREAD_ATTRIBUTE_MITIGATION_POLICY", windows_process._MITIGATION_POLICY),
    ("ProcThreadAttributeValue(13, FALSE, TRUE, FALSE)", windows_process._JOB_LIST),
    ("STARTF_USESTDHANDLES", windows_process._USE_STANDARD_HANDLES),
    ("HANDLE_FLAG_INHERIT", windows_process._INHERIT),
    ("TokenUser", windows_token._USER),
    ("TokenGroups", windows_token._GROUPS),
    ("TokenPrivileges", windows_token._PRIVILEGES),
    ("TokenDefaultDacl", windows_token._DEFAULT_DACL),
    ("TokenIntegrityLevel", windows_token._INTEGRITY),
    ("SE_GROUP_ENABLED", windows_token._GROUP_ENABLED),
    ("SE_GROUP_INTEGRITY", windows_token._GROUP_INTEGRITY),
    ("(TOKEN_ASSIGN_PRIMARY|TOKEN_DUPLICATE|TOKEN_QUERY|TOKEN_ADJUST_DEFAULT)", windows_token._ACCESS),
    ("TOKEN_QUERY", windows_token._QUERY),
    ("SDDL_REVISION_1", windows_token._SDDL_REVISION),
    ("SE_FILE_OBJECT", windows_token._FILE_OBJECT),
    ("LABEL_SECURITY_INFORMATION", windows_token._LABEL_INFORMATION),
    ("FILE_ATTRIBUTE_REPARSE_POINT", windows_token._REPARSE_POINT),
    ("READ_CONTROL", windows_token._READ_CONTROL),
    ("WRITE_OWNER", windows_token._WRITE_OWNER),
    ("(FILE_SHARE_READ|FILE_SHARE_WRITE|FILE_SHARE_DELETE)", windows_token._SHARE_ALL),
    ("OPEN_EXISTING", windows_token._OPEN_EXISTING),
    ("(FILE_FLAG_BACKUP_SEMANTICS|FILE_FLAG_OPEN_REPARSE_POINT)", windows_token._ITSELF),
    ("SECURITY_MANDATORY_LOW_RID", windows.INTEGRITY_LEVEL),
    ("WAIT_TIMEOUT", windows_api.WAIT_TIMEOUT),
    ("INFINITE", windows_api.INFINITE),
    ("ERROR_INSUFFICIENT_BUFFER", windows_api.INSUFFICIENT_BUFFER),
    ("(DWORD)STATUS_ACCESS_VIOLATION", 0xC0000005),
    ("JobObjectExtendedLimitInformation", children_job._EXTENDED_LIMITS),
    ("JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE", children_job._KILL_ON_JOB_CLOSE),
    ("JOB_OBJECT_LIMIT_SILENT_BREAKAWAY_OK", children_job._SILENT_BREAKAWAY_OK),
    ("PROCESS_TERMINATE", children_job._TERMINATE),
    ("PROCESS_SET_QUOTA", children_job._SET_QUOTA),
    ("CTRL_CLOSE_EVENT", windows_console._CLOSE),
    ("CTRL_LOGOFF_EVENT", windows_console._LOGOFF),
    ("CTRL_SHUTDOWN_EVENT", windows_console._SHUTDOWN),
    ("TokenUser", windows_security._USER),
    ("TOKEN_QUERY", windows_security._QUERY),
    ("SDDL_REVISION_1", windows_security._SDDL_REVISION),
    ("SE_FILE_OBJECT", windows_security.FILE_OBJECT),
    ("SE_KERNEL_OBJECT", windows_security.KERNEL_OBJECT),
    ("OWNER_SECURITY_INFORMATION", windows_security.OWNER),
    ("DACL_SECURITY_INFORMATION", windows_security.DACL),
    ("GENERIC_WRITE", windows_files._GENERIC_WRITE),
    ("READ_CONTROL", windows_files._READ_CONTROL),
    ("CREATE_NEW", windows_files._CREATE_NEW),
    ("PIPE_ACCESS_DUPLEX", windows_pipe._DUPLEX),
    ("FILE_FLAG_OVERLAPPED", windows_pipe._OVERLAPPED),
    ("FILE_FLAG_FIRST_PIPE_INSTANCE", windows_pipe._FIRST_INSTANCE),
    ("PIPE_REJECT_REMOTE_CLIENTS", windows_pipe._REJECT_REMOTE_CLIENTS),
    ("PIPE_UNLIMITED_INSTANCES", windows_pipe._UNLIMITED_INSTANCES),
    ("(SECURITY_SQOS_PRESENT|SECURITY_ANONYMOUS)", windows_pipe.ANONYMOUS_CLIENT),
    ("ERROR_FILE_NOT_FOUND", windows_pipe.FILE_NOT_FOUND),
    ("ERROR_ACCESS_DENIED", windows_pipe.ACCESS_DENIED),
    ("ERROR_PIPE_BUSY", windows_pipe.PIPE_BUSY),
    ("ERROR_BROKEN_PIPE", windows_pipe.BROKEN_PIPE),
    ("OPEN_EXISTING", windows_files._OPEN_EXISTING),
    ("(FILE_SHARE_READ|FILE_SHARE_WRITE|FILE_SHARE_DELETE)", windows_files._SHARE_ALL),
)
_LAYOUTS = {
    windows_api.BasicLimits: "JOBOBJECT_BASIC_LIMIT_INFORMATION",
    windows_api.ExtendedLimits: "JOBOBJECT_EXTENDED_LIMIT_INFORMATION",
    windows_api.Accounting: "JOBOBJECT_BASIC_ACCOUNTING_INFORMATION",
    windows_api.SidAndAttributes: "SID_AND_ATTRIBUTES",
    windows_api.LuidAndAttributes: "LUID_AND_ATTRIBUTES",
    windows_api.SecurityAttributes: "SECURITY_ATTRIBUTES",
    windows_api.StartupInfo: "STARTUPINFOEXW",
    windows_api.ProcessInformation: "PROCESS_INFORMATION",
}
_OFFSETS = (
    ("JOBOBJECT_BASIC_LIMIT_INFORMATION", "PerJobUserTimeLimit", windows_api.BasicLimits.job_time),
    ("JOBOBJECT_BASIC_LIMIT_INFORMATION", "LimitFlags", windows_api.BasicLimits.flags),
    ("JOBOBJECT_BASIC_LIMIT_INFORMATION", "ActiveProcessLimit", windows_api.BasicLimits.processes),
    ("JOBOBJECT_EXTENDED_LIMIT_INFORMATION", "ProcessMemoryLimit", windows_api.ExtendedLimits.process_memory),
    ("JOBOBJECT_EXTENDED_LIMIT_INFORMATION", "JobMemoryLimit", windows_api.ExtendedLimits.job_memory),
    ("JOBOBJECT_BASIC_ACCOUNTING_INFORMATION", "ActiveProcesses", windows_api.Accounting.active_processes),
    ("LUID_AND_ATTRIBUTES", "Attributes", windows_api.LuidAndAttributes.attributes),
    ("SECURITY_ATTRIBUTES", "lpSecurityDescriptor", windows_api.SecurityAttributes.descriptor),
    ("STARTUPINFOEXW", "StartupInfo.dwFlags", windows_api.StartupInfo.flags),
    ("STARTUPINFOEXW", "StartupInfo.hStdInput", windows_api.StartupInfo.stdin),
    ("STARTUPINFOEXW", "StartupInfo.hStdError", windows_api.StartupInfo.stderr),
    ("STARTUPINFOEXW", "lpAttributeList", windows_api.StartupInfo.attributes),
    ("PROCESS_INFORMATION", "dwProcessId", windows_api.ProcessInformation.process_id),
)


def constants() -> Iterator[tuple[str, int]]:
    yield from _CONSTANTS
    for limit in windows.JobLimit:
        yield f"JOB_OBJECT_LIMIT_{limit.name}", limit
    for ui in windows.UiLimit:
        yield f"JOB_OBJECT_UILIMIT_{_UI.get(str(ui.name), ui.name)}", ui
    for rate in windows.CpuRate:
        yield f"JOB_OBJECT_CPU_RATE_CONTROL_{rate.name}", rate
    for flag in windows.TokenFlag:
        yield str(flag.name), flag
    for creation in windows.Creation:
        yield _CREATION[str(creation.name)], creation
    for mitigation in windows.Mitigation:
        yield f"PROCESS_CREATION_MITIGATION_POLICY_{mitigation.name}_ALWAYS_ON", mitigation


def compile_asserting(expressions: list[str]) -> str:
    """What the compiler says against them; empty: all hold."""
    compiler = shutil.which(_COMPILER)
    assert compiler, f"{_COMPILER} is missing: apt-get install gcc-mingw-w64-x86-64"
    includes = ("windows.h", "sddl.h", "aclapi.h", "stddef.h")
    lines = ["#define _WIN32_WINNT 0x0A00", "#define NTDDI_VERSION 0x0A000007"]
    lines += [f"#include <{header}>" for header in includes]
    lines += [f'_Static_assert({expression}, "differs");' for expression in expressions]
    text = "\n".join(lines)
    process = subprocess.run(
        [compiler, "-x", "c", "-fsyntax-only", "-"], input=text, capture_output=True, text=True, timeout=60, check=False
    )
    return process.stderr if process.returncode else ""


def test_numbers_are_those_of_the_headers() -> None:
    assert compile_asserting([f"(unsigned long long)({name}) == {int(value)}ULL" for name, value in constants()]) == ""


def test_layouts_are_those_of_the_headers() -> None:
    sizes = [f"sizeof({name}) == {ctypes.sizeof(structure)}" for structure, name in _LAYOUTS.items()]
    offsets = [f"offsetof({name}, {member}) == {field.offset}" for name, member, field in _OFFSETS]
    assert compile_asserting([*sizes, *offsets]) == ""


def test_wrong_number_would_be_noticed() -> None:
    assert "differs" in compile_asserting(["JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE == 0x1000"])
