"""The Job Object of one sandbox.

Promises: whoever is in it cannot leave it; closing its last handle, which this process alone has, ends all of it, so
that nothing survives this process however that ends. Times and sizes are those of `JobLimits`.
"""

import ctypes

from runner.sandbox.windows.api import Accounting, CpuRateControl, ExtendedLimits, Handle, call, function
from runner.sandbox.windows.command import JobLimits
from sandbox_profiles import windows

_ACCOUNTING = 1
_UI_RESTRICTIONS = 4
_EXTENDED_LIMITS = 9
_CPU_RATE = 15


class Job:
    """One Job Object. Blocks never; raises OSError where Windows refuses."""

    def __init__(self, limits: JobLimits) -> None:
        """Raises OSError if Windows refuses any limit but the one on the processor rate: not all editions have that."""
        self._handle = Handle(call("CreateJobObjectW", None, None))
        extended = ExtendedLimits()
        extended.basic.flags = limits.flags
        extended.basic.processes = limits.processes
        extended.basic.job_time = limits.time_ticks
        extended.process_memory = extended.job_memory = limits.memory_bytes
        self._set(_EXTENDED_LIMITS, extended)
        self._set(_UI_RESTRICTIONS, ctypes.c_uint32(limits.ui_flags))
        self._try_set(_CPU_RATE, CpuRateControl(limits.cpu_flags, limits.cpu_rate))

    @property
    def handle(self) -> int:
        return self._handle.value

    @property
    def closed(self) -> bool:
        return self._handle.closed

    def read_back(self) -> JobLimits:
        """What Windows says the limits are; a class of limits that it does not tell reads as zeros."""
        extended, ui, rate = ExtendedLimits(), ctypes.c_uint32(), CpuRateControl()
        for number, information in ((_EXTENDED_LIMITS, extended), (_UI_RESTRICTIONS, ui), (_CPU_RATE, rate)):
            function("QueryInformationJobObject")(
                self.handle, number, ctypes.byref(information), ctypes.sizeof(information), None
            )
        return JobLimits(
            flags=extended.basic.flags,
            ui_flags=ui.value,
            processes=extended.basic.processes,
            memory_bytes=min(extended.process_memory, extended.job_memory),
            time_ticks=extended.basic.job_time,
            cpu_flags=rate.flags,
            cpu_rate=rate.rate,
        )

    def holds(self, process: int) -> bool:
        """Whether the process with this handle is in the job."""
        inside = ctypes.c_int()
        call("IsProcessInJob", process, self.handle, ctypes.byref(inside))
        return bool(inside.value)

    def active(self) -> int:
        """How many processes of it still run."""
        accounting = Accounting()
        call(
            "QueryInformationJobObject",
            self.handle,
            _ACCOUNTING,
            ctypes.byref(accounting),
            ctypes.sizeof(accounting),
            None,
        )
        return int(accounting.active_processes)

    def end(self) -> None:
        """Kill everything in it; nothing if it is closed."""
        if not self._handle.closed:
            function("TerminateJobObject")(self._handle.value, windows.KILLED)

    def close(self) -> None:
        """Give up the handle, which ends everything in the job."""
        self._handle.close()

    def _set(self, number: int, information: ctypes.Structure | ctypes.c_uint32) -> None:
        call("SetInformationJobObject", self.handle, number, ctypes.byref(information), ctypes.sizeof(information))

    def _try_set(self, number: int, information: ctypes.Structure) -> bool:
        return bool(
            function("SetInformationJobObject")(
                self.handle, number, ctypes.byref(information), ctypes.sizeof(information)
            )
        )
