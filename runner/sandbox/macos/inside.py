"""The first code that runs in a sandbox on a Mac: limit this process, then become the module asked for.

Run as `python -I -S -B inside.py LIMITS MODULE [ARGUMENT…]` by `sandbox-exec`, so the profile is in force
already. Sets what macOS does enforce on each process; a refusal of the kernel is fatal. Not set: address space, which
macOS does not enforce, and the number of processes, which it counts over the whole user.
"""

import os
import resource
import runpy
import sys


def main() -> None:
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))))
    sys.path.extend(path for path in os.environ.get("PYTHONPATH", "").split(":") if path)
    open_files, cpu_seconds, file_bytes = map(int, sys.argv[1].split(","))
    lower(resource.RLIMIT_CORE, 0)
    lower(resource.RLIMIT_NOFILE, open_files)
    if cpu_seconds >= 0:
        lower(resource.RLIMIT_CPU, cpu_seconds, cpu_seconds + 1)
    if file_bytes >= 0:
        lower(resource.RLIMIT_FSIZE, file_bytes)
    module = sys.argv[2]
    sys.argv[:] = sys.argv[2:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def lower(which: int, soft: int, hard: int | None = None) -> None:
    """Set a limit; an inherited one that is lower still stays."""
    ceiling = resource.getrlimit(which)[1]
    hard = soft if hard is None else hard
    if ceiling != resource.RLIM_INFINITY:
        soft, hard = min(soft, ceiling), min(hard, ceiling)
    resource.setrlimit(which, (soft, hard))


if __name__ == "__main__":
    main()
