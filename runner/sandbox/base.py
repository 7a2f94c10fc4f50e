"""The sandbox seam: start a process that can reach nothing it was not given.

Fail closed: a launcher either enforces what its `SandboxReport` says or refuses to launch. There is no launcher without
a sandbox. Implementations pass `tests/conformance/launcher_suite.py`.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class SandboxReport:
    """What was proved by the self-test at start."""

    name: str
    """`bubblewrap 0.11.0 (/usr/bin/bwrap)`."""
    layers: tuple[str, ...]
    """In words, each enforced layer: `no network`, `seccomp`, `landlock`, …"""
    missing: tuple[str, ...]
    """In words, each layer this machine cannot enforce."""
    python_jobs: bool
    """Whether the proven layers are enough to run a stranger's script."""
    gpus: tuple[str, ...] = ()
    """UUIDs of the GPUs that a process inside was seen to use; no other is granted."""
    skipped: tuple[str, ...] = ()
    """Sandbox programs that were tried first and do not work here, each with its reason."""
    remaps: bool = True
    """Whether a mount is seen at its `inside`. Where a system cannot do that, it is seen where it lies on the host."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A host path shown read-only at `inside`."""

    host: Path
    inside: str

    def seen(self, report: SandboxReport) -> str:
        """The path by which a process in a sandbox of this report finds it."""
        return self.inside if report.remaps else self.host.as_posix()


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """One process to start. Times and sizes are hard limits."""

    arguments: tuple[str, ...]
    """What the launcher's Python runs inside: a module name first, for instance `runner.executor`."""
    mounts: tuple[Mount, ...] = ()
    writable: Mount | None = None
    """The one host folder it may write to; only for converting a model, never for scripts."""
    gpus: tuple[str, ...] = ()
    """UUIDs of the NVIDIA devices granted; empty: none is visible."""
    memory_bytes: int | None = None
    """Main memory of all its processes together, what lies in its memory file systems included."""
    address_space: bool = True
    """Whether `memory_bytes` also limits each process's address space. Never with a GPU, whose driver reserves far more
    of it than it uses, and not for executors, whose libraries do so too."""
    share_bytes: int | None = None
    """Of an executor: what it was granted of its device's memory, watched from outside; None for scripts."""
    cpu_seconds: int | None = None
    """Processor time of each process."""
    cpu_cores: float | None = None
    """Processor time of all its processes together, for each second."""
    cpu_weight: int = 100
    """Its share of busy processors, where another program has 100. For models somebody waits; scripts have less."""
    tmp_bytes: int = 128 << 20
    out_bytes: int = 0
    """Size of the memory file system at `/job/out`; 0: none."""
    processes: int = 256
    threads: int = 1
    """How many CPU threads numeric libraries are told to use."""


class SandboxedProcess(Protocol):
    """A running sandbox; dies with the runner."""

    @property
    def stdin(self) -> asyncio.StreamWriter: ...

    @property
    def stdout(self) -> asyncio.StreamReader: ...

    @property
    def stderr(self) -> asyncio.StreamReader: ...

    @property
    def pid(self) -> int: ...

    @property
    def over_memory(self) -> str:
        """Why it was killed for its memory, in one sentence: by the kernel for its group's limit, or by a watchdog.

        Empty: it was not. Known at the latest when `wait` returns; may be asked at any time.
        """

    async def wait(self) -> int:
        """The exit status; negative: killed by that signal."""

    def kill(self) -> None:
        """Kill everything in the sandbox at once; safe at any time."""

    def kill_for_memory(self, why: str) -> None:
        """`kill`, for a watchdog: `over_memory` gives this sentence from now on. The first one stands."""


class Launcher(Protocol):
    @property
    def report(self) -> SandboxReport: ...

    async def launch(self, spec: SandboxSpec) -> SandboxedProcess:
        """Raises `runner.errors.SandboxUnavailableError`."""
