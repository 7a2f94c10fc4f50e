"""A process that launches one job with the macOS launcher, says the job's process id, and waits to be killed."""

import asyncio
import sys
from pathlib import Path

from runner.sandbox.base import SandboxReport, SandboxSpec
from runner.sandbox.interpreter import running_interpreter
from runner.sandbox.macos.launcher import MacLauncher
from runner.sandbox.macos.python import mac_python

_JOB = "import os, time\nos.fork() or os.setsid()\nprint(os.getpid(), flush=True)\ntime.sleep(60)"


async def run(tools: Path, base: Path) -> None:
    report = SandboxReport(name="stand-in", layers=(), missing=(), python_jobs=False)
    launcher = MacLauncher(
        mac_python(running_interpreter()),
        base,
        report,
        sandbox_exec=str(tools / "sandbox-exec"),
        guard=tools / "guard.py",
    )
    process = await launcher.launch(SandboxSpec(arguments=("timeit", "-n1", "-r1", _JOB)))
    print(int(await process.stdout.readline()), flush=True)
    await asyncio.sleep(60)


def main() -> None:
    asyncio.run(run(Path(sys.argv[1]), Path(sys.argv[2])))
