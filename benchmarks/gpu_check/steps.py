"""The steps of the check, each a question with one answer for the table."""

import asyncio
import shutil
import time
from pathlib import Path

from benchmarks.gpu_check.bench import Bench, Outside, Remembering, last_object, run_script, watched
from benchmarks.gpu_check.scripts import FRACTION, HOG, MATMUL
from benchmarks.gpu_check.table import Step, budget_step, overshoot_step, speed_step
from gogrid.ids import Sha256
from gogrid.protocol.job_messages import Failed, Finished, JobMessage, PythonEnd, TextDone
from gogrid.protocol.tasks import ChatMessage, ChatTask, ModelRef, Sampling
from gogrid.protocol.worker_report import DeviceKind
from runner.errors import ModelError
from runner.executor.messages import Load
from runner.sandbox.base import Launcher, Mount, SandboxSpec
from runner.serving.bring import CONVERTED_INSIDE, MODEL_INSIDE
from runner.serving.executor_client import ExecutorClient, start_executor
from runner.serving.memory_guard import Caps, MemoryGuard
from runner.serving.watched_launcher import WatchedLauncher

_CLOSE = 0.05
"""Largest difference of a matmul with TF32 from one of the CPU, for each row's square root of terms."""


async def matmul(bench: Bench, size: int = 4096) -> Step:
    done, printed = await run_script(bench, bench.launcher, MATMUL, str(size))
    found = last_object(printed)
    if not found:
        return Step("cuInit and matmul", False, f"{done.ended}: {done.detail or printed[-300:].strip()}")
    right = found["cuInit"] == 0 and float(found["far"]) < _CLOSE * size**0.5
    said = f"cuInit {found['cuInit']}, {found['name']}, off by {found['far']:.3g}, {found['tflops']:.1f} TFLOPS"
    return Step("cuInit and matmul", right, said)


async def fraction(bench: Bench, cap: int) -> Step:
    """The engine's own limit, which our engines set before they load anything."""
    done, printed = await run_script(bench, bench.launcher, FRACTION, str(cap))
    refused = last_object(printed).get("refused")
    words = {True: "an allocation past the fraction is refused", False: "an allocation past the fraction came through"}
    text = words[bool(refused)] if refused is not None else f"{done.ended}: {done.detail or printed[-300:].strip()}"
    return Step("engine cap", refused is True, text)


async def watchdog(bench: Bench, cap: int) -> Step:
    """A script that ignores the cap: nothing inside holds it back."""
    caps = Caps(cap) if bench.kind is DeviceKind.CPU else Caps(64 << 30, cap)
    guard = MemoryGuard(caps, time.monotonic, bench.memory())
    launcher = Remembering(WatchedLauncher(bench.launcher, guard))
    async with watched(bench, launcher, cap) as seen:
        done, _ = await run_script(bench, launcher, HOG, str(2 * cap))
        ended = time.monotonic()
    over_s = None if seen.over_since is None else ended - seen.over_since
    return overshoot_step("watchdog", killed=done.ended is PythonEnd.MEMORY, why=done.detail, over_s=over_s)


async def chat(bench: Bench, model: Path, cap: int, requests: int, tokens: int) -> list[Step]:
    """Continuous batching inside and outside, and what the engine held of the GPU meanwhile."""
    inside = Remembering(bench.launcher)
    try:
        async with watched(bench, inside, cap, every_s=0.25) as seen:
            quick, said = await _serve(bench, inside, model, cap, requests, tokens)
        slow, _ = await _serve(bench, Outside(), model, cap, requests, tokens)
    except ModelError as error:
        return [Step("chat model", False, str(error)), Step("engine budget", False, "no chat model was served")]
    return [speed_step("chat model", quick, slow), budget_step("engine budget", seen.most, cap, said)]


async def convert(bench: Bench, gguf: Path) -> Path:
    """The model in the engine's own format, made in the sandbox. Raises `ModelError`."""
    source, target = bench.folder / "gguf", bench.folder / "model"
    source.mkdir()
    target.mkdir()
    shutil.copy(gguf, source / "model.gguf")
    model, work = Mount(source, MODEL_INSIDE), Mount(target, CONVERTED_INSIDE)
    load = Load(
        engine="torch",
        model_path=model.seen(bench.launcher.report),
        device=DeviceKind.CPU,
        threads=2,
        cap_bytes=8 << 30,
        work_path=work.seen(bench.launcher.report),
        convert=True,
    )
    spec = SandboxSpec(("runner.executor",), mounts=(model,), writable=work, threads=2, address_space=False)
    client, _ = await start_executor(bench.launcher, spec, load, "convert", lambda loading: None)
    await client.close()
    return target


async def _serve(
    bench: Bench, launcher: Launcher, model: Path, cap: int, requests: int, tokens: int
) -> tuple[float, int]:
    """Tokens a second of one engine, and how many bytes it says that it holds. Raises `ModelError`."""
    mount = Mount(model, MODEL_INSIDE)
    path = mount.seen(launcher.report)
    load = Load(engine="torch", model_path=path, device=bench.kind, threads=2, cap_bytes=cap)
    spec = SandboxSpec(("runner.executor",), mounts=(mount,), gpus=bench.gpus, threads=2, address_space=False)
    client, ready = await start_executor(launcher, spec, load, "gpu-check", lambda loading: None)
    try:
        await _answers(client, 2, 4)
        begun = time.monotonic()
        made = await _answers(client, requests, tokens)
        return made / (time.monotonic() - begun), ready.memory_bytes
    finally:
        await client.close()


async def _answers(client: ExecutorClient, requests: int, tokens: int) -> int:
    """Ask all at once; how many tokens came. Raises `ModelError`."""
    ends = await asyncio.gather(*(_answer(client, number, tokens) for number in range(requests)))
    return sum(end.completion_tokens for end in ends)


async def _answer(client: ExecutorClient, number: int, tokens: int) -> TextDone:
    ended: asyncio.Future[JobMessage] = asyncio.get_running_loop().create_future()

    def sink(message: JobMessage) -> None:
        if isinstance(message, Finished | Failed) and not ended.done():
            ended.set_result(message)

    words = (ChatMessage(role="user", content=f"Write a long story about the number {number}."),)
    ref = ModelRef(name="gpu-check", digest=Sha256("0" * 64))
    client.submit(ChatTask(model=ref, messages=words, sampling=Sampling(max_tokens=tokens, seed=number)), sink)
    end = await ended
    if isinstance(end, Finished) and isinstance(end.result, TextDone):
        return end.result
    assert isinstance(end, Failed)
    raise ModelError(end.message, end.code)
