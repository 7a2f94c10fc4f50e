"""Ask systemd for a control group of our own, where none was handed to this process.

An ordinary user may not limit memory anywhere but below a folder that systemd gave away. So this process asks once, at
start, to be put into a *scope* of its own with `Delegate`: the same call that `systemd-run --scope` makes, but for a
process that runs already, so that each sandbox then costs one `mkdir` instead of a talk with systemd. A refusal changes
nothing: the report names what is missing.
"""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from runner.sandbox.linux.group_finder import OWN_SCOPE

BUSCTL = Path("/usr/bin/busctl")
_TIMEOUT_S = 5.0
_LOOK_EVERY_S = 0.02
_CALL = (
    "org.freedesktop.systemd1",
    "/org/freedesktop/systemd1",
    "org.freedesktop.systemd1.Manager",
    "StartTransientUnit",
    "ssa(sv)a(sa(sv))",
)


def scope_command(busctl: Path, pid: int, *, root: bool) -> tuple[str, ...]:
    """What asks for the scope: of the user's own systemd, or the machine's for root. Pure."""
    properties = (
        ("Description", "s", "GoGrid worker"),
        ("PIDs", "au", "1", str(pid)),
        ("Delegate", "b", "true"),
        ("CollectMode", "s", "inactive-or-failed"),
    )
    return (
        *(str(busctl), "--system" if root else "--user", "--quiet", "call", *_CALL),
        *(f"{OWN_SCOPE}{pid}.scope", "fail"),
        *(str(len(properties)), *(word for words in properties for word in words)),
        "0",
    )


def bus_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables by which busctl finds systemd; nothing else of ours is passed on."""
    names = ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")
    return {name: environment[name] for name in names if name in environment}


async def enter_scope(environment: Mapping[str, str]) -> bool:
    """Whether this process is now in a scope of its own."""
    pid, root = os.getpid(), os.geteuid() == 0
    bus = bus_environment(environment)
    if not (root or bus):
        return False
    nothing = asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(
            *scope_command(BUSCTL, pid, root=root), stdin=nothing, stdout=nothing, stderr=nothing, env=bus
        )
    except OSError:
        return False
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            return await process.wait() == 0 and await _moved(pid)
    except TimeoutError:
        return False
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _moved(pid: int) -> bool:
    """Systemd answers before it has done it."""
    own = f"/{OWN_SCOPE}{pid}.scope"
    while own not in await asyncio.to_thread(_membership):  # noqa: ASYNC110 - another process's doing has no event
        await asyncio.sleep(_LOOK_EVERY_S)
    return True


def _membership() -> str:
    return Path("/proc/self/cgroup").read_text(encoding="utf-8", errors="replace")
