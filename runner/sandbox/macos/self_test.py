"""Prove each layer of the macOS sandbox on this machine: `python -m runner.sandbox.macos.self_test` prints the table.

`judge` is pure: what the probe saw, against what the policy wants. A layer is counted only if its own attack was tried
and failed. Anything unexpected, from a broken probe to an unknown answer, counts as not proved.
"""

import asyncio
import contextlib
import os
import platform
import secrets
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec

from runner.errors import SandboxUnavailableError
from runner.probes.apple import APPLE_GPU
from runner.sandbox.base import Launcher, SandboxReport, SandboxSpec
from runner.sandbox.interpreter import Interpreter, running_interpreter
from runner.sandbox.macos.folders import remove_stale
from runner.sandbox.macos.launcher import MacLauncher
from runner.sandbox.macos.live import live_checks
from runner.sandbox.macos.python import mac_python
from sandbox_profiles import macos

_NAME = f"sandbox-exec ({macos.SANDBOX_EXEC})"
_UNTESTED = SandboxReport(name=_NAME, layers=(), missing=(), python_jobs=False, remaps=False)
_TIMEOUT_S = 20.0
_MAX_REPORT = 1 << 16
_FILE_BYTES = 1 << 20


class MacProbe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `runner.sandbox.macos.probe` prints."""

    reached_port: bool
    reached_unix: bool
    sent_datagram: bool
    read_canary: bool
    listed_folder: bool
    listed_parent: bool
    written: tuple[str, ...]
    user: int
    programs: tuple[str, ...]
    signalled: tuple[int, ...]
    services: tuple[str, ...]
    environment: frozenset[str]
    descriptors: tuple[int, ...]
    core_bytes: int
    open_files: int
    file_bytes: int
    broken: tuple[str, ...]


async def choose_macos_launcher(
    python: Interpreter | None = None, gpus: tuple[str, ...] = (), base: Path | None = None
) -> Launcher:
    """The launcher, self-tested.

    Args:
        python: what runs inside; None: the running interpreter and its packages.
        gpus: names of the GPUs that jobs are to get; `report.gpus` says whether they work inside.
        base: where jobs get their folders; None: the user's own temporary folder.

    Raises:
        SandboxUnavailableError: no sandbox starts here, or one starts and does not enforce enough.
    """
    launcher = untested_launcher(python, base)
    report = judge(await look(launcher))
    return launcher.proved(await with_gpus(launcher, report, gpus))


async def with_gpus(launcher: MacLauncher, report: SandboxReport, gpus: tuple[str, ...]) -> SandboxReport:
    """The report, with the GPUs in it if Metal gives a process inside a device, and else with why it does not."""
    if not gpus:
        return report
    granted = launcher.proved(replace(report, gpus=gpus))
    try:
        printed = await _run(granted, SandboxSpec(arguments=("runner.sandbox.macos.metal",), gpus=gpus))
    except SandboxUnavailableError as error:
        return replace(report, missing=(*report.missing, f"GPU ({error})"))
    if printed.strip() != b"1":
        return replace(report, missing=(*report.missing, "GPU (Metal gives a process inside no device)"))
    return granted.report


def untested_launcher(python: Interpreter | None = None, base: Path | None = None) -> MacLauncher:
    """For the self-test itself. Raises `SandboxUnavailableError`."""
    home = mac_python(python or running_interpreter())
    folder = (base or Path(tempfile.gettempdir())).resolve()
    remove_stale(folder)
    return MacLauncher(home, folder, _UNTESTED)


def layers(seen: MacProbe, *, host_heard: bool) -> dict[str, bool]:
    """Each layer, and whether the probe proved it."""
    return {
        "no network": not (seen.reached_port or seen.reached_unix or seen.sent_datagram or host_heard),
        "no host files": not (seen.read_canary or seen.listed_folder or seen.listed_parent),
        "read-only system": not seen.written,
        "no privileges": seen.user != 0,
        "no foreign programs": not seen.programs,
        "no foreign processes": not seen.signalled,
        "no system services": not seen.services,
        "clean environment": seen.environment <= macos.ENVIRONMENT_NAMES | macos.ADDED_BY_THE_SYSTEM
        and seen.descriptors == (0, 1, 2),
        "resource limits": seen.core_bytes == 0
        and 0 <= seen.open_files <= macos.OPEN_FILES
        and 0 <= seen.file_bytes <= _FILE_BYTES,
    }


def judge(look: "tuple[MacProbe, bool]", name: str = _NAME) -> SandboxReport:
    """Which layers the probe proved.

    Args:
        look: what it saw, and whether anything from inside arrived at the host's listeners.

    Raises:
        SandboxUnavailableError: a layer without which nothing may run is not proved, or what must work inside does not.
    """
    seen, host_heard = look
    proved = layers(seen, host_heard=host_heard)
    broken = [layer for layer in macos.REQUIRED_LAYERS if not proved[layer]]
    if broken:
        raise SandboxUnavailableError(f"{name} started, but did not enforce: {', '.join(broken)}.")
    if seen.broken:
        raise SandboxUnavailableError(f"{name} started, but a job cannot work in it: {', '.join(seen.broken)}.")
    return SandboxReport(
        name=name,
        layers=tuple(layer for layer, holds in proved.items() if holds),
        missing=(*(layer for layer, holds in proved.items() if not holds), *macos.NEVER_ENFORCED),
        python_jobs=macos.SCRIPTS and all(proved[layer] for layer in macos.SCRIPT_LAYERS),
        remaps=False,
    )


async def look(launcher: Launcher) -> tuple[MacProbe, bool]:
    """Run the probe in a real sandbox: what it saw, and whether the host heard it. Raises `SandboxUnavailableError`."""
    heard = asyncio.Event()

    def on_connection(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.set()
        writer.close()

    async with contextlib.AsyncExitStack() as stack:
        folder = stack.enter_context(_canary())
        tcp = await stack.enter_async_context(await asyncio.start_server(on_connection, "127.0.0.1", 0))
        await stack.enter_async_context(await asyncio.start_unix_server(on_connection, f"{folder}/s"))
        port = str(tcp.sockets[0].getsockname()[1])
        spec = SandboxSpec(
            arguments=("runner.sandbox.macos.probe", port, f"{folder}/s", folder, str(os.getpid())),
            tmp_bytes=_FILE_BYTES,
        )
        output = await _run(launcher, spec)
    try:
        return msgspec.json.decode(output, type=MacProbe), heard.is_set()
    except msgspec.DecodeError as error:
        raise SandboxUnavailableError(f"{_NAME} gave no readable self-test report: {error}.") from error


@contextlib.contextmanager
def _canary() -> Iterator[str]:
    """A folder outside of the sandbox, with a file in it that must not be read."""
    with tempfile.TemporaryDirectory(prefix="gogrid-self-test-") as folder:
        Path(folder, "canary").write_text(secrets.token_hex(8))
        yield os.path.realpath(folder)


async def _run(launcher: Launcher, spec: SandboxSpec) -> bytes:
    process = await launcher.launch(spec)
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            process.stdin.close()
            output, complaint = await asyncio.gather(process.stdout.read(_MAX_REPORT), process.stderr.read(_MAX_REPORT))
            status = await process.wait()
    except TimeoutError:
        raise SandboxUnavailableError(f"{_NAME} did not finish its self-test in {_TIMEOUT_S:.0f} s.") from None
    finally:
        process.kill()
        await process.wait()
    if status != 0:
        words = complaint.decode(errors="replace").strip().splitlines()
        raise SandboxUnavailableError(f"{_NAME} does not work here: {words[-1] if words else f'exit status {status}'}.")
    return output


def table(rows: "list[tuple[str, bool, str]]") -> str:
    """One line for each: whether it holds, its name, and what was found where it does not."""
    width = max(len(name) for name, _, _ in rows)
    return "\n".join(f"{'ok   ' if ok else 'WRONG'}  {name:{width}}  {found}".rstrip() for name, ok, found in rows)


async def examine() -> "tuple[list[tuple[str, bool, str]], SandboxReport | None]":
    """Every row of the table, and the report if the sandbox may be used."""
    try:
        launcher = untested_launcher()
        seen, heard = await look(launcher)
    except SandboxUnavailableError as error:
        return [("sandbox starts", False, str(error))], None
    proved = layers(seen, host_heard=heard)
    rows = [("sandbox starts", True, ""), *((name, holds, "") for name, holds in proved.items())]
    rows += [("a job can work", not seen.broken, ", ".join(seen.broken))]
    rows += await live_checks(launcher)
    try:
        report = judge((seen, heard))
    except SandboxUnavailableError as error:
        return [*rows, ("may be used", False, str(error))], None
    if platform.machine() == "arm64":
        report = await with_gpus(launcher, report, (APPLE_GPU,))
    return rows, report


def main() -> int:
    if platform.system() != "Darwin":
        print("This is the self-test of the macOS sandbox; run it on a Mac.", file=sys.stderr)
        return 2
    rows, report = asyncio.run(examine())
    print(table(rows))
    if report is not None:
        print("".join(f"\nnot enforced: {word}" for word in report.missing).lstrip())
        print(f"Python jobs: {'yes' if report.python_jobs else 'no'}\nGPU: {'yes' if report.gpus else 'no'}")
    return 0 if report is not None and all(ok for _, ok, _ in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
