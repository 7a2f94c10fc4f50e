"""The first answer that a machine's owner wants to see: one small question, worked on here and nowhere else.

Promises: what is shown was computed on this machine, in the sandbox and by the engine that jobs get; where the
coordinator has no model yet, a short script is run instead, and its result is not called a model's answer. It is the
owner who asks, at the machine: so it works while the worker may not work for others (the computer is in use), goes on
when that begins meanwhile (the click that asks may begin it), and a pause asked for meanwhile ends it. It is no job of
the coordinator's, costs nobody else anything, and is one at a time.
"""

import asyncio
import logging
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Protocol

import msgspec

from gogrid.ids import Sha256
from gogrid.protocol.job_messages import FailCode, Failed, Finished, JobMessage, Log, OutputFile, Progress, Tokens
from gogrid.protocol.tasks import ChatMessage, ChatTask, InputFile, ModelRef, PythonLimits, PythonTask, Sampling
from gogrid.protocol.worker_report import LoadStage
from runner.control_messages import TestShown
from runner.errors import JobError, RunnerError
from runner.models.blobs import Access, smallest_chat_model
from runner.python_job.run import run_python
from runner.sandbox.base import Launcher
from runner.serving.pool import ExecutorPool
from runner.threads import in_thread

log = logging.getLogger(__name__)
QUESTION = "Say hello to the owner of this computer in one short sentence."
SCRIPT = """\
import time
began = time.perf_counter()
sieve = bytearray([1]) * 200_001
for n in range(2, 448):
    if sieve[n]:
        sieve[n * n :: n] = bytes(len(range(n * n, 200_001, n)))
print(f"There are {sum(sieve[2:])} prime numbers below 200,000.")
"""
_MAX_TOKENS = 48
_LONGEST_ANSWER = 4000
_PATIENCE_S = 900.0
"""The model's download included."""
_ASK_S = 10.0
_STAGES = {
    LoadStage.QUEUED: "waiting for room in memory",
    LoadStage.DOWNLOADING: "fetching the model from the coordinator",
    LoadStage.CONVERTING: "preparing the model",
    LoadStage.LOADING: "loading the model",
}


class FindModel(Protocol):
    """Names the smallest model of the coordinator that can chat; see `smallest_model`."""

    def __call__(self) -> Awaitable[ModelRef | None]: ...


class FirstTest:
    """Use from one event loop."""

    def __init__(self, pool: ExecutorPool, launcher: Launcher, find: FindModel, done: Callable[[], None]) -> None:
        """`done` is called after each try, with nothing of it running any more."""
        self._pool, self._launcher, self._find, self._done = pool, launcher, find, done
        self._task: asyncio.Task[None] | None = None
        self.shown = TestShown()

    def begin(self) -> None:
        """Start, unless one is under way."""
        if self._task is None or self._task.done():
            self.shown = TestShown(state="working", sentence="asking the coordinator for its smallest model")
            self._task = asyncio.create_task(self._run(), name="first test")

    def stop(self, why: str) -> None:
        """End it now; nothing happens if none is under way."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            self.shown = TestShown(state="failed", sentence=why)

    async def close(self) -> None:
        self.stop("The worker is stopping.")
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        began = time.monotonic()
        try:
            async with asyncio.timeout(_PATIENCE_S):
                model = await self._find()
                if model is not None:
                    await self._ask(model)
                else:
                    await self._script()
            self._show(state="done", sentence="", seconds=round(time.monotonic() - began, 1))
        except asyncio.CancelledError:
            if self.shown.state == "working":
                self._show(state="failed", sentence="The computer was wanted back meanwhile; try again.")
            raise
        except TimeoutError:
            self._show(state="failed", sentence="No answer came within 15 minutes; see the log.")
        except RunnerError as error:
            self._show(state="failed", sentence=str(error))
        except Exception:
            log.exception("the first test failed in the worker itself")
            self._show(state="failed", sentence="The worker failed in itself; its log has the details.")
        finally:
            self._done()

    async def _ask(self, model: ModelRef) -> None:
        self._show(model=model.name, question=QUESTION)
        messages = (ChatMessage(role="user", content=QUESTION),)
        task = ChatTask(model=model, messages=messages, sampling=Sampling(max_tokens=_MAX_TOKENS, temperature=0.0))
        ended: asyncio.Future[Failed | None] = asyncio.get_running_loop().create_future()

        def sink(message: JobMessage) -> None:
            if isinstance(message, Tokens):
                answer = (self.shown.answer + message.text)[:_LONGEST_ANSWER]
                tokens = self.shown.tokens + len(message.token_ids)
                self._show(answer=answer, tokens=tokens, sentence="answering")
            elif isinstance(message, Failed | Finished) and not ended.done():
                ended.set_result(message if isinstance(message, Failed) else None)

        with self._pool.asked_by_owner(model.digest):
            async with self._pool.use(model.digest, self._progress) as client:
                request = client.submit(task, sink)
                try:
                    failed = await ended
                finally:
                    client.abort(request)
        if failed is not None:
            raise JobError(failed.message[:_LONGEST_ANSWER], failed.code)

    async def _script(self) -> None:
        self._show(sentence="running a short script in the sandbox", question="Count the prime numbers below 200,000.")
        task = PythonTask(
            files=(InputFile(name="first_test.py", sha256=Sha256("0" * 64), size=len(SCRIPT)),),
            entry="first_test.py",
            limits=PythonLimits(memory_bytes=256 << 20, wall_s=60.0, output_bytes=1 << 20, output_files=1),
        )

        async def collect(message: JobMessage) -> None:
            if isinstance(message, Log):
                said = message.data.decode("utf-8", "replace")
                self._show(answer=(self.shown.answer + said)[:_LONGEST_ANSWER])

        async def nothing(_name: str, _pieces: AsyncIterator[bytes]) -> OutputFile:
            raise JobError("The script left a file, which it was not asked for.", FailCode.INTERNAL)

        with tempfile.TemporaryDirectory(prefix="gogrid-first-test-") as folder:
            script = Path(folder) / "first_test.py"
            script.write_text(SCRIPT, encoding="utf-8")
            script.chmod(0o444)
            ended = await run_python(self._launcher, task, {"first_test.py": script}, collect, nothing, asyncio.Event())
        if ended.exit_code != 0:
            raise JobError(f"The script ended with {ended.ended.value}. {ended.detail}".strip(), FailCode.INTERNAL)

    def _progress(self, progress: Progress) -> None:
        said = _STAGES[progress.stage]
        percent = f", {progress.fraction:.0%}" if progress.stage is LoadStage.DOWNLOADING else ""
        self._show(sentence=said + percent)

    def _show(self, **changes: object) -> None:
        self.shown = msgspec.structs.replace(self.shown, **changes)


async def named(finding: Awaitable[ModelRef | None], names: MutableMapping[Sha256, str]) -> ModelRef | None:
    """The model that is found; what the coordinator calls it is kept in `names`."""
    model = await finding
    if model is not None:
        names[model.digest] = model.name
    return model


async def smallest_model(access: Callable[[], Access | None]) -> ModelRef | None:
    """What the coordinator names; None: it has no model that can chat. Raises `RunnerError`: it cannot be asked."""
    until = time.monotonic() + _ASK_S
    while (now := access()) is None:
        if time.monotonic() >= until:
            raise RunnerError("The worker is not connected to its coordinator yet; try again in a moment.")
        await asyncio.sleep(0.2)
    return await in_thread(lambda _stop: smallest_chat_model(now), "test model")
