"""The supervisor inside a Python job's sandbox: run the script, pass on what it prints, hand out what it leaves.

Arguments: ENTRY LOG_BYTES OUTPUT_BYTES OUTPUT_FILES [ARGUMENT…]. It is process 1 of the sandbox and has no handler
that ends it (Python's own for SIGINT is taken away), so the script cannot kill it; it is not dumpable, so the script
cannot reach its descriptors; and all it says on standard output is in the records of `pipe`. The script's own end ends
every process it started, before the files are looked at.
"""

import os
import select
import signal
import sys
import time

from gogrid.protocol.framing import encode_frame
from runner.python_job import pipe
from runner.python_job.outputs import OutputFound, OutputLimits, link_inputs, read, survey
from runner.sandbox.linux import kernel

_PIECE = 64 << 10
_GATHER_S = 0.003
"""How long output waits for what follows it, so that a line written in two pieces travels as one."""
_LONGEST_SHOWN = 100
_PAUSE_S = 0.01
"""Shortest time between two records, so that tiny writes do not become a flood of them."""


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    kernel.not_dumpable()
    os.chdir("/job/out")
    link_inputs(".")
    entry, log_bytes, output_bytes, output_files = sys.argv[1:5]
    children = _Children()
    printed = {}
    writers = []
    for stream in ("stdout", "stderr"):
        reader, writer = os.pipe2(os.O_CLOEXEC)
        printed[reader] = stream
        writers.append(writer)
    folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    script = _start([sys.executable, "-s", "-B", f"/job/in/{entry}", *sys.argv[5:]], writers)
    for writer in writers:
        os.close(writer)
    _say(pipe.Began())
    _pass_on(printed, int(log_bytes) + 1, children, script)
    found = survey(folder, OutputLimits(int(output_bytes), int(output_files)))
    exit_code, signal_number = children.end_of(script)
    _say(pipe.Ended(exit_code, signal_number, children.peak_bytes, children.cpu_ms, found.left_out, found.too_large))
    for file in found.files:
        _say(pipe.FileBegins(file.name, file.size, _was(file)))
        for piece in read(folder, file):
            _say(pipe.FileData(piece))
    _say(pipe.Done())


class _Children:
    """Reaps every process of the sandbox, as its process 1 must, and remembers how each ended."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self.cpu_ms = 0
        self._ends: dict[int, int] = {}
        self.woken, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)

    def reap(self, *, all_of_them: bool = False) -> None:
        """Take note of the ended ones; with `all_of_them` kill the rest and wait until none is left."""
        while True:
            if all_of_them:
                _kill_every_other()
            try:
                pid, status, usage = os.wait4(-1, 0 if all_of_them else os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._ends[pid] = os.waitstatus_to_exitcode(status)
            self.peak_bytes = max(self.peak_bytes, usage.ru_maxrss * 1024)
            self.cpu_ms += int((usage.ru_utime + usage.ru_stime) * 1000)

    def has_ended(self, pid: int) -> bool:
        return pid in self._ends

    def end_of(self, pid: int) -> tuple[int, int]:
        """(exit code, signal); one of them is 0."""
        code = self._ends[pid]
        return (0, -code) if code < 0 else (code, 0)


def _start(command: list[str], writers: list[int]) -> int:
    nothing = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    child = os.fork()
    if child:
        os.close(nothing)
        return child
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        for target, source in enumerate([nothing, *writers]):
            os.dup2(source, target)
        os.execv(command[0], command)  # noqa: S606 - no shell, and inside the sandbox
    finally:
        os._exit(127)


def _pass_on(printed: dict[int, str], log_bytes: int, children: _Children, script: int) -> None:
    """Forward output until the script and all it started are dead and their last output is read.

    One byte more than the job may log is forwarded, so that the runner, who counts for himself, sees the limit passed;
    the rest is read and dropped, so that a script that floods its log is not blocked by it.
    """
    poll = select.poll()
    for reader in (*printed, children.woken):
        poll.register(reader, select.POLLIN)
    waiting = {reader: bytearray() for reader in printed}
    last_record = 0.0
    due: float | None = None
    while waiting or not children.has_ended(script):
        pause = None if due is None else max(0.0, due - time.monotonic()) * 1000
        for reader, _ in poll.poll(pause):
            if reader == children.woken:
                os.read(reader, _PIECE)
                children.reap()
                if children.has_ended(script):
                    children.reap(all_of_them=True)
            elif piece := os.read(reader, _PIECE):
                kept = piece[:log_bytes]
                log_bytes -= len(kept)
                waiting[reader] += kept
            else:
                poll.unregister(reader)
                _say_output(printed[reader], waiting.pop(reader))
        now = time.monotonic()
        if not any(waiting.values()):
            due = None
        elif due is None:
            due = max(now + _GATHER_S, last_record + _PAUSE_S)
        elif now >= due or any(len(data) >= _PIECE for data in waiting.values()):
            for reader, data in waiting.items():
                _say_output(printed[reader], data)
                data.clear()
            last_record, due = now, None


def _was(file: OutputFound) -> str:
    """The script's own name of a file that had to get another one, in characters that can be shown."""
    was = "/".join(file.path)
    return "" if was == file.name else ascii(was)[1:-1][:_LONGEST_SHOWN]


def _say_output(stream: str, data: bytearray) -> None:
    if data:
        _say(pipe.Output(stream, bytes(data)))


def _kill_every_other() -> None:
    try:
        os.kill(-1, signal.SIGKILL)
    except ProcessLookupError:
        return


def _say(record: pipe.Record) -> None:
    frame = memoryview(encode_frame(pipe.encode(record)))
    while frame:
        frame = frame[os.write(sys.stdout.fileno(), frame) :]


if __name__ == "__main__":
    main()
