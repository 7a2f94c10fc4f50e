"""Start one process inside its Job Object, with its token and nothing else.

Promises: the process is born in the job, so there is no moment at which this process's death would leave it behind; it
inherits exactly three handles; its first instruction runs after all of this was checked. Raises OSError.
"""

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from runner.sandbox.windows.api import (
    Handle,
    ProcessInformation,
    StartupInfo,
    call,
    fail,
    function,
    last_error,
)
from runner.sandbox.windows.job import Job
from sandbox_profiles import windows

_USE_STANDARD_HANDLES = 0x100
_INHERIT = 0x1
_HANDLE_LIST = 0x20002
_MITIGATION_POLICY = 0x20007
_JOB_LIST = 0x2000D
_RESUME_FAILED = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Started:
    process: Handle
    pid: int


def start_in_job(*, command: str, block: str, folder: Path, token: Handle, job: Job, handles: Sequence[int]) -> Started:
    """The running process.

    Args:
        command: as `command_line` writes it.
        block: as `environment_block` writes it.
        folder: where it starts.
        handles: standard input, output and error; made inheritable here.
    """
    stdin, stdout, stderr = handles
    for handle in handles:
        call("SetHandleInformation", handle, _INHERIT, _INHERIT)
    line, variables = ctypes.create_unicode_buffer(command), ctypes.create_unicode_buffer(block, len(block) + 1)
    made = ProcessInformation()
    inherited = (ctypes.c_void_p * 3)(stdin, stdout, stderr)
    with _attributes(inherited, job) as attributes:
        startup = StartupInfo()
        startup.size = ctypes.sizeof(startup)
        startup.flags = _USE_STANDARD_HANDLES
        startup.stdin, startup.stdout, startup.stderr = stdin, stdout, stderr
        startup.attributes = ctypes.addressof(attributes)
        call(
            "CreateProcessAsUserW",
            *(token.value, None, line, None, None, True, int(windows.CREATION)),
            *(variables, str(folder), ctypes.byref(startup), ctypes.byref(made)),
        )
    process = Handle(made.process)
    with Handle(made.thread) as thread:
        if not job.holds(process.value):
            function("TerminateProcess")(process.value, windows.KILLED)
            raise OSError("the new process is not in its Job Object")
        if function("ResumeThread")(thread.value) == _RESUME_FAILED:
            code = last_error()
            job.end()
            fail("ResumeThread", code)
    return Started(process, made.process_id)


@contextmanager
def _attributes(inherited: "ctypes.Array[ctypes.c_void_p]", job: Job) -> "Iterator[ctypes.Array[ctypes.c_char]]":
    """The list of process attributes; what it points to lives as long as the `with`."""
    jobs = (ctypes.c_void_p * 1)(job.handle)
    mitigations = ctypes.c_uint64(int(windows.MITIGATIONS))
    wanted = ((_HANDLE_LIST, inherited), (_JOB_LIST, jobs), (_MITIGATION_POLICY, mitigations))
    size = ctypes.c_size_t()
    function("InitializeProcThreadAttributeList")(None, len(wanted), 0, ctypes.byref(size))
    attributes = ctypes.create_string_buffer(size.value)
    call("InitializeProcThreadAttributeList", attributes, len(wanted), 0, ctypes.byref(size))
    try:
        for number, value in wanted:
            call(
                "UpdateProcThreadAttribute",
                *(attributes, 0, number, ctypes.byref(value), ctypes.sizeof(value), None, None),
            )
        yield attributes
    finally:
        function("DeleteProcThreadAttributeList")(attributes)
