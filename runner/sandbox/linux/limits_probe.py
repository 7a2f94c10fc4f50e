"""Run inside a sandbox by the self-test: use more processor time, then more memory, than it was given.

Arguments: for how many milliseconds to keep one processor busy, and how many processes are to take how many MiB each.
Prints the share of a processor that it got, and `survived` if it could have all that memory. Judges nothing.
"""

import os
import signal
import sys
import time


def main() -> None:
    busy_ms, processes, mebibytes = map(int, sys.argv[1:])
    print(_processor_share(busy_ms / 1000), flush=True)
    _hold(processes, mebibytes << 20)
    print("survived", flush=True)


def _processor_share(busy_s: float) -> float:
    began, used = time.monotonic(), time.process_time()
    while (now := time.monotonic()) < began + busy_s:
        pass
    return (time.process_time() - used) / (now - began)


def _hold(processes: int, size: int) -> None:
    """All of it at once, in children that wait for each other. Raises SystemExit if not every one of them lives."""
    children: list[int] = []
    answers: list[int] = []
    for _ in range(processes):
        ready, tell = os.pipe()
        child = os.fork()
        if child == 0:
            held = b"x" * size
            os.write(tell, held[:1])
            signal.pause()
        os.close(tell)
        children.append(child)
        answers.append(ready)
    had_it = all([os.read(ready, 1) for ready in answers])
    gone = [os.waitpid(child, os.WNOHANG)[0] for child in children]  # one may be killed for what another took later
    for child in set(children).difference(gone):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    if not had_it or any(gone):
        raise SystemExit("not every process could have its memory")


if __name__ == "__main__":
    main()
