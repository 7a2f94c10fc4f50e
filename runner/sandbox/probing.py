"""Run a probe in a sandbox and take what it prints, whatever it does."""

import asyncio
from collections.abc import Callable

from runner.errors import SandboxUnavailableError
from runner.sandbox.base import Launcher, SandboxedProcess, SandboxSpec

_TIMEOUT_S = 20.0
_MAX_REPORT = 1 << 16


async def run_probe(launcher: Launcher, spec: SandboxSpec, name: str) -> bytes:
    """What a probe printed. Raises `SandboxUnavailableError`: it did not end well, or not at all."""
    output, complaint, status = await to_end(await launcher.launch(spec), name)
    if status != 0:
        words = complaint.decode(errors="replace").strip().splitlines()
        raise SandboxUnavailableError(f"{name} does not work here: {words[-1] if words else f'exit status {status}'}.")
    return output


async def to_end(
    process: SandboxedProcess, name: str, last_look: Callable[[], None] | None = None
) -> tuple[bytes, bytes, int]:
    """What it printed, what it complained of, and its exit status.

    Args:
        last_look: called when it has printed all, while its control group is still there.
    """
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            process.stdin.close()
            output, complaint = await asyncio.gather(_read(process.stdout), _read(process.stderr))
            if last_look is not None:
                last_look()
            return output, complaint, await process.wait()
    except TimeoutError:
        raise SandboxUnavailableError(f"{name} did not finish its self-test in {_TIMEOUT_S:.0f} s.") from None
    finally:
        process.kill()
        await process.wait()


async def _read(reader: asyncio.StreamReader) -> bytes:
    """All that comes, of which only the first `_MAX_REPORT` bytes are kept."""
    kept = bytearray()
    while piece := await reader.read(_MAX_REPORT):
        kept += piece[: _MAX_REPORT - len(kept)]
    return bytes(kept)
