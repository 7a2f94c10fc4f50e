"""`bench`: how fast this machine is, measured with the real engine in the real sandbox, under the owner's limits.

Promises: nothing is downloaded, nothing is left behind but the result in the state folder, and nothing is measured that
would not run for a job. The running worker reports the result, and the coordinator prefers the faster of two workers
between which nothing else decides.
"""

import asyncio
import math
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

import gogrid
from gogrid.files import write_whole
from gogrid.ids import Sha256
from gogrid.places import WorkerPlaces
from gogrid.protocol.job_messages import Failed, Finished, JobMessage, Tokens
from gogrid.protocol.tasks import CompletionTask, ModelRef, Sampling
from gogrid.protocol.worker_report import DeviceKind
from runner.bench_model import CONTEXT, VOCABULARY, write_bench_model
from runner.config import WorkerConfig
from runner.errors import ModelError, RunnerError
from runner.executor.messages import Load
from runner.facts import Facts
from runner.probes.all import probe_machine
from runner.sandbox.base import Launcher, Mount, SandboxSpec
from runner.sandbox.choose import choose_launcher
from runner.serving.bring import MODEL_INSIDE
from runner.serving.executor_client import ExecutorClient, start_executor
from runner.speed import Speed, device_name, speed_file
from runner.survey import Survey

_TOGETHER = 8
_PROMPT = tuple(range(1, 33))
_SECONDS = 3.0
_FEWEST = 4
"""So many looks at least make a measurement."""
_PATIENCE_S = 30.0
"""How long it may take beyond its time."""
_LOAD_S = 180.0
_BANDWIDTH_S = 60.0


async def measure(config: WorkerConfig, places: WorkerPlaces, seconds: float = _SECONDS) -> Speed:
    """Measure, and keep the result.

    Args:
        seconds: how long each of the two measurements of tokens may take at most.

    Raises:
        RunnerError: this machine cannot work, or the measurement went wrong; says why.
    """
    machine = await asyncio.to_thread(probe_machine)
    launcher = await choose_launcher(gpus=machine.nvidia)
    facts = Survey(machine, launcher.report, "").facts(config)
    if facts.problem:
        raise RunnerError(facts.problem)
    if not machine.engine.torch:
        raise RunnerError(f"Nothing can be measured: {machine.engine.problem}: pip install 'gogrid[engine]'.")
    places.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=places.data) as folder:
        model = Path(folder) / "model"
        await asyncio.to_thread(write_bench_model, model)
        speed = await _measure(launcher, facts, model, seconds)
    write_whole(speed_file(places), msgspec.json.format(msgspec.json.encode(speed)), private=True, replace=True)
    return speed


async def _measure(launcher: Launcher, facts: Facts, model: Path, seconds: float) -> Speed:
    mount = Mount(model, MODEL_INSIDE)
    load = Load(
        engine="torch",
        model_path=mount.seen(launcher.report),
        device=facts.device.kind,
        threads=facts.cores,
        cap_bytes=facts.device.cap_bytes,
    )
    try:
        async with asyncio.timeout(_LOAD_S):
            client, ready = await start_executor(
                launcher, _spec(facts, mount, ("runner.executor",)), load, "bench", lambda _loading: None
            )
    except TimeoutError:
        raise RunnerError(f"The engine was not ready within {_LOAD_S:.0f} s; see gogrid-worker doctor.") from None
    except ModelError as error:
        raise RunnerError(f"The engine cannot be measured: {error}") from error
    try:
        await _pace(client, 1, seconds / 4)  # what is slow only the first time
        alone = await _pace(client, 1, seconds)
        together = await _pace(client, min(_TOGETHER, ready.slots), seconds)
    finally:
        await client.close()
    return Speed(
        device=device_name(facts),
        engine=ready.device[:100],
        tokens_per_s=round(together, 1),
        stream_tokens_per_s=round(alone, 1),
        memory_bandwidth=round(await _bandwidth(launcher, facts)),
        measured_at=round(time.time()),
        software=f"gogrid/{gogrid.__version__}",
    )


async def _pace(client: ExecutorClient, count: int, seconds: float) -> float:
    """Tokens each second of so many answers at once, over so long from when all have begun. Raises `RunnerError`."""
    loop = asyncio.get_running_loop()
    begun: set[int] = set()
    made: list[tuple[float, int]] = []
    """When tokens came after all had begun, and how many."""
    over: asyncio.Future[None] = loop.create_future()

    def sink(number: int) -> Callable[[JobMessage], None]:
        def take(message: JobMessage) -> None:
            if isinstance(message, Failed) and not over.done():
                over.set_exception(RunnerError(f"The engine cannot be measured: {message.message[:500]}"))
            if isinstance(message, Tokens):
                begun.add(number)
                made.extend([(loop.time(), len(message.token_ids))] * (len(begun) == count))
            enough = len(made) >= _FEWEST and made[-1][0] - made[0][0] >= seconds
            if (enough or isinstance(message, Finished)) and not over.done():
                over.set_result(None)

        return take

    requests = [client.submit(_task(number), sink(number)) for number in range(count)]
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds + _PATIENCE_S):
                await over
    finally:
        for request in requests:
            client.abort(request)
    return rate(made)


def rate(made: list[tuple[float, int]]) -> float:
    """Tokens each second, from when they came (seconds) and how many; raises `RunnerError` where that says nothing."""
    if len(made) < 2 or made[-1][0] <= made[0][0]:
        raise RunnerError("The engine is too slow here, or too busy, to be measured; try again when it is at rest.")
    return sum(tokens for _, tokens in made[1:]) / (made[-1][0] - made[0][0])


def _task(seed: int) -> CompletionTask:
    sampling = Sampling(max_tokens=CONTEXT - len(_PROMPT), temperature=1.0, seed=seed)
    prompt = tuple((token * (seed + 1)) % VOCABULARY for token in _PROMPT)
    return CompletionTask(model=ModelRef(name="bench", digest=Sha256("")), prompt=prompt, sampling=sampling)


async def _bandwidth(launcher: Launcher, facts: Facts) -> float:
    """Bytes each second. Raises `RunnerError`."""
    words = ("runner.executor.engines.bandwidth", facts.device.kind.value, str(facts.cores))
    process = await launcher.launch(_spec(facts, None, words))
    try:
        async with asyncio.timeout(_BANDWIDTH_S):
            said = await process.stdout.read(100)
            await process.wait()
    except TimeoutError:
        said = b""
    finally:
        process.kill()
    try:
        found = msgspec.json.decode(said, type=float)
    except msgspec.MsgspecError:
        found = math.nan
    if not 0 < found < math.inf:
        raise RunnerError("The memory's speed could not be measured: the device does not do what it is told.")
    return found


def _spec(facts: Facts, model: Mount | None, words: tuple[str, ...]) -> SandboxSpec:
    on_gpu = facts.device.kind is DeviceKind.CUDA
    return SandboxSpec(
        arguments=words,
        mounts=(model,) if model is not None else (),
        gpus=facts.device.gpus,
        memory_bytes=None if on_gpu else facts.device.cap_bytes,
        address_space=False,
        share_bytes=facts.device.cap_bytes,
        threads=facts.cores,
    )
