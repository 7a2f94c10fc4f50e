"""The guard of the macOS launcher with Linux's process table in the place of libproc."""

import sys

import psutil

from runner.sandbox.macos.keeper import keep
from runner.sandbox.macos.watch import Process, decode_caps


class LinuxTable:
    """The same interface, read with psutil; the resident size stands for the footprint."""

    def processes(self) -> list[Process]:
        import os

        found = []
        for process in psutil.process_iter():
            try:
                if process.status() != psutil.STATUS_ZOMBIE:
                    group = os.getpgid(process.pid)
                    found.append(Process(process.pid, process.ppid(), group, process.create_time()))
            except (psutil.Error, ProcessLookupError):
                continue
        return found

    def footprint(self, pid: int) -> int:
        try:
            return int(psutil.Process(pid).memory_info().rss)
        except psutil.Error:
            return 0


def main() -> None:
    lifeline, caps, folder, *command = sys.argv[1:]
    sys.exit(keep(int(lifeline), decode_caps(caps), folder, command, LinuxTable()))


if __name__ == "__main__":
    main()
