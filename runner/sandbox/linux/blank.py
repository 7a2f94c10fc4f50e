"""A bubblewrap that was started and waits to be told what to isolate, already in its own control group.

Starting it before it is told is what makes a group hold from the first moment, because nothing of the sandbox exists
before the whole command line has come down the pipe; and it lets the next sandbox be ready before it is wanted, since
the kernel may take 20 ms to move a process into a group. A blank belongs to no event loop.

If this process dies meanwhile, the pipe ends, and bubblewrap ends on an empty command line: no mount, so no program.
"""

import fcntl
import os
import signal
import subprocess
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from runner.errors import SandboxUnavailableError
from runner.sandbox.linux.process_group import ProcessGroup, ProcessGroups
from runner.sandbox.linux.python_home import PythonHome

_PIPE = 1 << 20
"""Room for the longest command line, so that telling it never waits."""


class Blank:
    """One waiting bubblewrap. Tell it, or `discard` it."""

    def __init__(
        self, process: subprocess.Popen[bytes], options_fd: int, filter_fd: int, group: "Future[ProcessGroup | None]"
    ) -> None:
        self.process = process
        self.filter_fd = filter_fd
        """The number under which it holds the system call filter."""
        self.group = group
        self._options_fd = options_fd

    @property
    def waits(self) -> bool:
        return self.process.poll() is None and not (self.group.done() and self.group.exception())

    def tell(self, options: tuple[str, ...]) -> None:
        """Raises OSError: the command line is too long for the kernel. One that died already says so by its end."""
        text = b"".join(option.encode(errors="surrogateescape") + b"\0" for option in options)
        try:
            if len(text) > fcntl.fcntl(self._options_fd, fcntl.F_GETPIPE_SZ):
                fcntl.fcntl(self._options_fd, fcntl.F_SETPIPE_SZ, _PIPE)
            os.set_blocking(self._options_fd, False)
            if os.write(self._options_fd, text) != len(text):
                raise BlockingIOError("its list of files is too long")
        except BrokenPipeError:
            return
        finally:
            os.close(self._options_fd)
            self._options_fd = -1

    def discard(self) -> None:
        """End it and leave nothing behind; waits for the kernel, a few milliseconds at most."""
        if self._options_fd >= 0:
            os.close(self._options_fd)
            self._options_fd = -1
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        with suppress(OSError):
            if group := self.group.result():
                group.remove()


def start_blank(
    bwrap: Path,
    home: PythonHome,
    module: str,
    filter_file: Path,
    groups: ProcessGroups | None,
    helper: ThreadPoolExecutor,
) -> Blank:
    """Start one; it joins its group in the helper's thread. Call from a thread that lives as long as this process.

    Args:
        module: what its Python will run. All else comes later.

    Raises:
        SandboxUnavailableError: it cannot be started.
    """
    try:
        filter_fd = os.open(filter_file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise SandboxUnavailableError(f"The system call filter {filter_file} cannot be read: {error}.") from error
    told, teller = os.pipe2(os.O_CLOEXEC)
    try:
        process = subprocess.Popen(
            (*(str(bwrap), "--args", str(told), "--"), *home.command, "-", module),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env={},
            cwd="/",
            close_fds=True,
            pass_fds=(told, filter_fd),
            start_new_session=True,
        )
    except OSError as error:
        os.close(teller)
        raise SandboxUnavailableError(f"The sandbox program {bwrap} cannot be started: {error}.") from error
    finally:
        os.close(told)
        os.close(filter_fd)
    return Blank(process, teller, filter_fd, helper.submit(_join, groups, process.pid))


def _join(groups: ProcessGroups | None, pid: int) -> ProcessGroup | None:
    """A new group with this process in it; None: no groups, or the process died. Raises OSError."""
    if groups is None:
        return None
    group = groups.create()
    try:
        group.add(pid)
    except ProcessLookupError:
        group.remove()
        return None
    except OSError:
        group.remove()
        raise
    return group
