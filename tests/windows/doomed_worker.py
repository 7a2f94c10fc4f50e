"""Run by `windows_guarantees_test.py`: start one sandbox with a child in it, say their process numbers, and wait."""

import asyncio
import sys

sys.path.insert(0, sys.argv[1])

from runner.sandbox.base import SandboxSpec
from tests.windows.surroundings import untested_launcher

INSIDE = (
    "import os, subprocess, sys, time; "
    "child = subprocess.Popen([sys.executable, '-I', '-S', '-c', 'import time; time.sleep(60)']); "
    "print(os.getpid(), child.pid, flush=True); time.sleep(60)"
)


async def main() -> None:
    process = await untested_launcher().launch(SandboxSpec(arguments=("timeit", "-n1", "-r1", INSIDE)))
    print((await process.stdout.readline()).decode().strip(), flush=True)
    await process.wait()


asyncio.run(main())
