"""Start sandboxes with bubblewrap on Linux.

Promises: the process gets the policy of `bwrap_arguments`, nothing of this process's environment, and no descriptor
but its three pipes; it is in a control group of its own before anything of it runs; it dies when this process dies,
however that happens; `kill` ends all of it at once. Refuses by `SandboxUnavailableError`. There is no way to start
without the sandbox.
"""

import asyncio
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from runner.errors import SandboxUnavailableError
from runner.sandbox.base import SandboxReport, SandboxSpec
from runner.sandbox.linux.blank import Blank, start_blank
from runner.sandbox.linux.bwrap_arguments import GpuAccess, bwrap_options, sandbox_orders
from runner.sandbox.linux.gpu_nodes import gpu_nodes
from runner.sandbox.linux.group_settings import GroupLimits
from runner.sandbox.linux.orders import spoken
from runner.sandbox.linux.process import BwrapProcess, pipes_of
from runner.sandbox.linux.process_group import ProcessGroup, ProcessGroups
from runner.sandbox.linux.python_home import PythonHome
from sandbox_profiles import linux


@dataclass(frozen=True, slots=True)
class Program:
    """What all sandboxes of one launcher have in common."""

    bwrap: Path
    home: PythonHome
    seccomp_filter: Path
    groups: ProcessGroups | None
    kept_ready: str = "runner.python_job.inside"
    """A module whose next sandbox is started ahead, because each script has a fresh one."""


class BwrapLauncher:
    """Starts sandboxes with one bubblewrap program, whose self-test `choose_launcher` has run."""

    def __init__(self, program: Program, report: SandboxReport, gpu: GpuAccess = GpuAccess()) -> None:  # noqa: B008
        self._program = program
        self._report = report
        self._gpu = gpu
        self._helper = ThreadPoolExecutor(1, thread_name_prefix="sandbox group")
        self._spare: list[Blank] = []
        weakref.finalize(self, _discard_all, self._spare, self._helper)

    @property
    def report(self) -> SandboxReport:
        return self._report

    async def launch(self, spec: SandboxSpec) -> BwrapProcess:
        unproved = [uuid for uuid in spec.gpus if uuid not in self._report.gpus]
        if unproved:
            raise SandboxUnavailableError(f"The GPU {unproved[0]} did not work in this machine's sandbox.")
        nodes = gpu_nodes(spec.gpus)
        blank = self._take(spec.arguments[0])
        told = False
        try:
            options = bwrap_options(self._program.home, spec, blank.filter_fd, nodes, self._gpu)
            group = await asyncio.shield(asyncio.wrap_future(blank.group))
            if group is not None:
                group.limit(_limits(spec))
            blank.tell(options)
            told = True
        except OSError as error:
            raise SandboxUnavailableError(
                f"The sandbox program {self._program.bwrap} cannot be started: {error}."
            ) from error
        finally:
            if not told:
                await asyncio.to_thread(blank.discard)
        process = await self._attach(blank, group, spec)
        if spec.arguments[0] == self._program.kept_ready and not self._spare:
            self._spare.append(self._start(self._program.kept_ready))
        return process

    async def _attach(self, blank: Blank, group: ProcessGroup | None, spec: SandboxSpec) -> BwrapProcess:
        """The running sandbox, with its pipes on this loop; if nobody waits for it any more, it ends."""
        attaching = asyncio.create_task(pipes_of(blank.process))
        try:
            pipes = await asyncio.shield(attaching)
        except asyncio.CancelledError:
            process = BwrapProcess(blank.process, group, spec.memory_bytes, await attaching)
            process.kill()
            process.stdin.close()
            await process.wait()
            raise
        together = group is not None and linux.MEMORY_LAYER in self._report.layers
        pipes.stdin.write(spoken(sandbox_orders(spec, self._gpu, together=together), spec.arguments[1:]))
        return BwrapProcess(blank.process, group, spec.memory_bytes, pipes)

    def _take(self, module: str) -> Blank:
        if module == self._program.kept_ready and self._spare:
            blank = self._spare.pop()
            if blank.waits:
                return blank
            blank.discard()
        return self._start(module)

    def _start(self, module: str) -> Blank:
        """In the event loop's own thread: bubblewrap dies with the thread that started it."""
        program = self._program
        return start_blank(program.bwrap, program.home, module, program.seccomp_filter, program.groups, self._helper)


def _limits(spec: SandboxSpec) -> GroupLimits:
    memory = None if spec.memory_bytes is None else spec.memory_bytes + linux.SUPERVISOR_BYTES
    return GroupLimits(spec.processes, memory, spec.cpu_cores, spec.cpu_weight, spec.threads)


def _discard_all(spare: list[Blank], helper: ThreadPoolExecutor) -> None:
    while spare:
        spare.pop().discard()
    helper.shutdown(wait=False)
