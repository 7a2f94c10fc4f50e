"""Checks of the macOS launcher that need a running job: the caps that are held by looking, and what outlives a kill.

Each gives one row of the self-test's table and ends what it started.
"""

import asyncio
import time

import psutil

from runner.errors import SandboxUnavailableError
from runner.sandbox.base import SandboxSpec
from runner.sandbox.macos.launcher import MacLauncher, MacProcess

Row = tuple[str, bool, str]

_TIMEOUT_S = 20.0
_CAP = 192 << 20
_AT_ONCE_S = 1.0
_GREEDY = "import time\nheld = b'x' * (400 << 20)\nprint(len(held), flush=True)\ntime.sleep(60)"
_MANY = "import os, time\nfor _ in range(20): os.fork() or time.sleep(60)\nprint('all', flush=True)\ntime.sleep(60)"
_FILL = (
    "import os, time\nname = os.environ['TMPDIR'] + '/'\n"
    "for n in range(8): open(name + str(n), 'wb').write(b'x' * (1 << 20))\ntime.sleep(60)"
)
_ESCAPE = (
    "import os, time\nchild = os.fork()\nif child == 0:\n    os.setsid()\n    time.sleep(60)\n"
    "print(child, flush=True)\ntime.sleep(60)"
)


async def live_checks(launcher: MacLauncher) -> list[Row]:
    """All of them, one after the other."""
    return [
        await _ends_itself(launcher, "memory cap ends it", SandboxSpec(arguments=_code(_GREEDY), memory_bytes=_CAP)),
        await _ends_itself(launcher, "process cap ends it", SandboxSpec(arguments=_code(_MANY), processes=10)),
        await _ends_itself(launcher, "folder cap ends it", SandboxSpec(arguments=_code(_FILL), tmp_bytes=2 << 20)),
        await _escape(launcher),
    ]


async def _ends_itself(launcher: MacLauncher, name: str, spec: SandboxSpec) -> Row:
    began = time.monotonic()
    try:
        process = await launcher.launch(spec)
    except SandboxUnavailableError as error:
        return name, False, str(error)
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            status = await process.wait()
    except TimeoutError:
        return name, False, "it ran on"
    finally:
        await _end(process)
    words = process.over_memory or process.ended_for
    if words:
        return name, True, f"after {time.monotonic() - began:.1f} s"
    complaint = (await process.stderr.read()).decode(errors="replace").strip().splitlines()
    return name, False, f"status {status}: {complaint[-1] if complaint else 'it said nothing'}"


async def _escape(launcher: MacLauncher) -> Row:
    """A process that left the group of its job is dead soon after the kill."""
    name = "nothing outlives a kill"
    try:
        process = await launcher.launch(SandboxSpec(arguments=_code(_ESCAPE)))
    except SandboxUnavailableError as error:
        return name, False, str(error)
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            child = int(await process.stdout.readline() or 0)
            before = time.monotonic()
            process.kill()
            await process.wait()
    except TimeoutError:
        return name, False, "it ran on"
    finally:
        await _end(process)
    took = time.monotonic() - before
    if child == 0 or took > _AT_ONCE_S or _lives(child):
        return name, False, "a process is still there" if child else "it did not start"
    return name, True, f"after {took * 1000:.0f} ms"


async def _end(process: MacProcess) -> None:
    process.kill()
    await process.wait()


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _code(text: str) -> tuple[str, ...]:
    """Arguments that run a piece of Python inside."""
    return ("timeit", "-n1", "-r1", text)
