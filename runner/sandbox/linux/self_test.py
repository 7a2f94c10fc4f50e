"""Prove each layer of the sandbox on this machine, from inside a real one, before any job may use it.

`judge` is pure: what the probe saw, against what the policy wants. A layer is counted only if its own attack was tried
and failed. Anything unexpected, from a broken probe to an unknown answer, counts as not proved. That a process got
little processor time proves no limit, because the machine may be busy: the kernel must have held it back.
"""

import asyncio
import contextlib
import errno
import os
import secrets
import tempfile
from pathlib import Path

import msgspec

from runner.errors import SandboxUnavailableError
from runner.sandbox.base import SandboxReport, SandboxSpec
from runner.sandbox.linux.launcher import BwrapLauncher
from runner.sandbox.probing import run_probe, to_end
from sandbox_profiles import linux

_PROBE_PROCESSES = 12
_SECCOMP_MODE_FILTER = 2
_BUSY_MS = (200, 1000, 3000)
"""For how long to be busy, one after the other while nothing can be told: others may leave it less than its limit."""
_HOG = SandboxSpec(
    arguments=("runner.sandbox.linux.limits_probe", "1", "4", "40"), memory_bytes=64 << 20, address_space=False
)
"""Not while it is busy: a process that is killed for memory needs processor time to die, and took up to 20 s of a
fifth."""
_MOST_SHARE = 0.4
"""Of a processor, of which a fifth was given; a period of the kernel's more or less must not matter."""


class ProbeReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `runner.sandbox.linux.probe` prints."""

    interfaces: tuple[str, ...]
    reached_port: bool
    reached_abstract: bool
    sees_canary: bool
    root: frozenset[str]
    writable_mounts: tuple[str, ...]
    capabilities: tuple[int, ...]
    no_new_privileges: bool
    user: int
    processes_seen: int
    seccomp_mode: int
    ptrace_errno: int
    user_namespace_errno: int
    audit_errno: int
    environment: frozenset[str]
    descriptors: tuple[int, ...]
    landlock_refuses: bool
    landlock_scope_errnos: tuple[int, ...]
    processes_started: int


class LimitsReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of processes that wanted more than they were given."""

    processor_share: float
    """Of one processor; infinite: it cannot be told."""
    held_back: bool
    """Whether the kernel says that it made the process wait for its limit."""
    killed_for_memory: bool


def judge(name: str, seen: ProbeReport, limits: LimitsReport, host_heard: bool, processes: int) -> SandboxReport:
    """Which layers the probe proved.

    Args:
        name: the sandbox program, in words.
        host_heard: whether anything from inside arrived at the host's listeners.
        processes: the limit the probe's sandbox was given.

    Raises:
        SandboxUnavailableError: a layer without which nothing may run is not proved; names all of them.
    """
    proved = {
        "no network": seen.interfaces == ("lo",) and not (seen.reached_port or seen.reached_abstract or host_heard),
        "no host files": not seen.sees_canary and seen.root <= linux.ROOT_ENTRIES,
        "read-only system": not seen.writable_mounts,
        "no privileges": seen.no_new_privileges
        and not any(seen.capabilities)
        and seen.user == linux.USER_ID
        and seen.user_namespace_errno != 0,
        "own process tree": seen.processes_seen == 1,
        "seccomp filter": seen.seccomp_mode == _SECCOMP_MODE_FILTER
        and seen.ptrace_errno == errno.EPERM
        and seen.audit_errno == errno.EAFNOSUPPORT,
        "clean environment": seen.environment <= linux.ENVIRONMENT_NAMES and seen.descriptors == (0, 1, 2),
        "Landlock": seen.landlock_refuses,
        "process limit": seen.processes_started <= processes,
        linux.SCOPE_LAYER: seen.landlock_scope_errnos == (errno.EPERM, errno.EPERM),
        linux.MEMORY_LAYER: limits.killed_for_memory,
        linux.CPU_LAYER: limits.held_back and limits.processor_share <= _MOST_SHARE,
    }
    broken = [layer for layer in linux.REQUIRED_LAYERS if not proved[layer]]
    if broken:
        raise SandboxUnavailableError(f"{name} started, but did not enforce: {', '.join(broken)}.")
    return SandboxReport(
        name=name,
        layers=tuple(layer for layer, holds in proved.items() if holds),
        missing=tuple(layer for layer, holds in proved.items() if not holds),
        python_jobs=all(proved[layer] for layer in linux.SCRIPT_LAYERS),
    )


async def self_test(launcher: BwrapLauncher, name: str) -> SandboxReport:
    """Run the probe in a real sandbox and judge it.

    Raises:
        SandboxUnavailableError: no sandbox starts here, or one starts and does not enforce enough.
    """
    heard = asyncio.Event()

    def on_connection(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.set()
        writer.close()

    abstract = f"gogrid-self-test-{secrets.token_hex(8)}"
    async with contextlib.AsyncExitStack() as stack:
        tcp = await stack.enter_async_context(await asyncio.start_server(on_connection, "127.0.0.1", 0))
        await stack.enter_async_context(await asyncio.start_unix_server(on_connection, "\0" + abstract))
        canary = stack.enter_context(tempfile.TemporaryDirectory(prefix="gogrid-self-test-"))
        port = str(tcp.sockets[0].getsockname()[1])
        spec = SandboxSpec(
            arguments=("runner.sandbox.linux.probe", port, abstract, canary, str(_PROBE_PROCESSES)),
            processes=_PROBE_PROCESSES,
        )
        trying = asyncio.create_task(_try_limits(launcher, name))
        try:
            seen = _parse(await run_probe(launcher, spec, name), name)
        finally:
            limits = await trying
    return judge(name, seen, limits, heard.is_set(), _PROBE_PROCESSES)


async def program_name(bwrap: Path) -> str:
    """`bubblewrap 0.11.0 (/usr/bin/bwrap)`. Raises `SandboxUnavailableError` if the program does not run."""
    try:
        process = await asyncio.create_subprocess_exec(
            str(bwrap), "--version", stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, env={}
        )
    except OSError as error:
        raise SandboxUnavailableError(f"{bwrap} cannot be started: {os.strerror(error.errno or 0)}.") from error
    version, _ = await process.communicate()
    return f"{version.decode(errors='replace').strip()[:40] or 'bubblewrap'} ({bwrap})"


async def _try_limits(launcher: BwrapLauncher, name: str) -> LimitsReport:
    share, held_back = await _try_processor(launcher, name)
    hog = await launcher.launch(_HOG)
    await to_end(hog, name)
    return LimitsReport(processor_share=share, held_back=held_back, killed_for_memory=bool(hog.over_memory))


async def _try_processor(launcher: BwrapLauncher, name: str) -> tuple[float, bool]:
    """What share of a processor a busy process got, and whether the kernel held it back."""
    share, held_back = float("inf"), None
    for busy_ms in _BUSY_MS:
        share, held_back = await _be_busy(launcher, name, busy_ms)
        if held_back is not False or share > _MOST_SHARE:
            break
    return share, bool(held_back)


async def _be_busy(launcher: BwrapLauncher, name: str, busy_ms: int) -> tuple[float, bool | None]:
    """Before other programs, so that it can use all it is given even where they are many."""
    arguments = ("runner.sandbox.linux.limits_probe", str(busy_ms), "0", "0")
    process = await launcher.launch(SandboxSpec(arguments=arguments, cpu_cores=0.2, cpu_weight=1000))
    seen: list[bool | None] = []
    output, _, _ = await to_end(process, name, lambda: seen.append(process.held_back))
    return _share(output), seen[0]


def _share(output: bytes) -> float:
    """What cannot be told counts as not limited."""
    first, _, _ = output.decode(errors="replace").partition("\n")
    try:
        return float(first)
    except ValueError:
        return float("inf")


def _parse(output: bytes, name: str) -> ProbeReport:
    try:
        return msgspec.json.decode(output, type=ProbeReport)
    except msgspec.DecodeError as error:
        raise SandboxUnavailableError(f"{name} gave no readable self-test report: {error}.") from error
