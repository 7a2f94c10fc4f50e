"""One executor process as the runner sees it: load a model, hand in requests, route what comes back.

Believes nothing of what the executor says: a message that is not due, or a result of the wrong kind, kills it. One that
hangs is found by looking at its process, only while it is silent and has work, and killed. However it ends, every
request it had is told `CRASHED`, and whether there were others, at once where it hangs: they go on elsewhere while the
process dies. Who may be in it at once is `door.py`. All items of one step are handed on within one turn of the event
loop, so that the link can send them in as few packets as possible.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from gogrid.errors import ProtocolError
from gogrid.protocol.codec import Codec, encode_framed
from gogrid.protocol.framing import FrameDecoder
from gogrid.protocol.job_messages import (
    EmbeddingDone,
    FailCode,
    Failed,
    Finished,
    JobMessage,
    Started,
    TextDone,
    Tokens,
    Vectors,
)
from gogrid.protocol.tasks import ChatTask, CompletionTask, EmbeddingTask
from runner.errors import ModelError
from runner.executor.messages import Abort, FromExecutor, Load, LoadFailed, Loading, Ready, Step, Submit
from runner.sandbox.base import Launcher, SandboxedProcess, SandboxSpec
from runner.serving.door import Door
from runner.serving.process_look import Eyes
from runner.serving.watchdog import Watchdog, WatchTerms

log = logging.getLogger(__name__)
ModelTask = ChatTask | CompletionTask | EmbeddingTask
Sink = Callable[[JobMessage], None]
_READ = 1 << 18
_TAIL = 4096
_CLOSE_S = 3.0
_WATCH = WatchTerms()
_codec: Codec[FromExecutor] = Codec(FromExecutor)


@dataclass(frozen=True, slots=True)
class _Request:
    sink: Sink
    embedding: bool


class ExecutorClient:
    """Made by `start_executor`; use from one event loop."""

    def __init__(
        self,
        process: SandboxedProcess,
        label: str,
        on_loading: Callable[[Loading], None],
        watch: WatchTerms = _WATCH,
    ) -> None:
        self._process, self._label, self._on_loading = process, label, on_loading
        self._requests: dict[int, _Request] = {}
        self._last_request = 0
        self._tail = b""
        self._closing = False
        self._hangs = ""
        self._watchdog, self._eyes = Watchdog(watch), Eyes(process.pid)
        self._loop = loop = asyncio.get_running_loop()
        self._heard_at = self._judged_at = loop.time()
        self._look: asyncio.TimerHandle | None = None
        self.loaded: asyncio.Future[Ready] = loop.create_future()
        self._life = loop.create_task(self._live(), name=f"executor {label}")
        self.on_idle: Callable[[], None] = lambda: None
        """Called when a request ended."""
        self.answered = 0
        """Requests that had their result."""
        self.door = Door()
        """Every request is inside from before `submit` to its end."""
        self.crash = ""
        """How it ended by itself, in words; empty while it lives and where it was closed."""
        self.died_of_loner = False
        """It served one request alone when it ended: this says something of the request, nothing of the model."""
        self._watch_on()

    @property
    def running(self) -> int:
        return len(self._requests)

    @property
    def alive(self) -> bool:
        return not self._life.done() and not self._closing and not self._hangs

    def submit(self, task: ModelTask, sink: Sink) -> int:
        """Hand in a request; `sink` gets its messages, the last of them `Finished` or `Failed`."""
        self._last_request += 1
        number = self._last_request
        try:
            frame = encode_framed(Submit(request=number, task=task))
        except ProtocolError as error:
            raise ModelError(f"The request is too large: {error}", FailCode.BAD_REQUEST) from error
        if not self._requests:
            self._heard_at = self._loop.time()
        self._requests[number] = _Request(sink, isinstance(task, EmbeddingTask))
        self._process.stdin.write(frame)
        self._watch_on()
        return number

    def abort(self, request: int) -> None:
        """Forget a request; its sink hears nothing more."""
        if self._requests.pop(request, None) is None:
            return
        if not self._process.stdin.is_closing():
            self._process.stdin.write(encode_framed(Abort(request=request)))
        self.on_idle()

    async def close(self) -> None:
        """End it: politely, then by force; returns when its memory is free."""
        self._closing = True
        with suppress(OSError, RuntimeError):
            self._process.stdin.close()
        done, _ = await asyncio.wait((self._life,), timeout=_CLOSE_S)
        if not done:
            self._process.kill()
            await asyncio.wait((self._life,))

    def kill(self) -> None:
        """End it now; for when the machine's owner, the fence or the end of the runner says so."""
        self._closing = True
        self._process.kill()

    async def wait(self) -> None:
        """Until the process has ended."""
        await asyncio.wait((self._life,))

    async def _live(self) -> None:
        """Read until the process ends; then tell everybody."""
        errors = asyncio.create_task(self._read_errors(), name=f"executor {self._label} stderr")
        failure = ""
        try:
            failure = await self._read()
        finally:
            self._process.kill()
            status = await self._process.wait()
            await asyncio.wait((errors,), timeout=1.0)
            errors.cancel()
            self._ended(self._hangs or failure or _ending(status, self._process.over_memory))

    async def _read(self) -> str:
        """Route messages until the executor closes its output; what it did wrong, in words, if it did."""
        decoder = FrameDecoder()
        try:
            while data := await self._process.stdout.read(_READ):
                self._heard_at = self._loop.time()
                for frame in decoder.feed(data):
                    self._receive(_codec.decode(frame))
        except ProtocolError as error:
            return f"its process broke the protocol ({error})"
        return ""

    def _receive(self, message: FromExecutor) -> None:
        if isinstance(message, Step) and self.loaded.done():
            before = len(self._requests)
            for item in message.items:
                self._route(item.request, item.message)
            if len(self._requests) < before:
                self.on_idle()
        elif self.loaded.done():
            raise ProtocolError(f"{type(message).__name__} after it was loaded")
        elif isinstance(message, Loading):
            self._on_loading(message)
        elif isinstance(message, Ready):
            self.loaded.set_result(message)
        elif isinstance(message, LoadFailed):
            self.loaded.set_exception(ModelError(message.message[:500], message.code))
        else:
            raise ProtocolError("a step before it was loaded")

    def _route(self, number: int, message: JobMessage) -> None:
        request = self._requests.get(number)
        if request is None:
            return  # aborted meanwhile
        if isinstance(message, Finished):
            due = EmbeddingDone if request.embedding else TextDone
            if not isinstance(message.result, due):
                raise ProtocolError(f"a {type(message.result).__name__} for a request of another kind")
            del self._requests[number]
            self.answered += 1
        elif isinstance(message, Failed):
            del self._requests[number]
            message = Failed(code=message.code, message=message.message, param=message.param)
        elif not isinstance(message, Started | (Vectors if request.embedding else Tokens)):
            raise ProtocolError(f"{type(message).__name__} for a request of another kind")
        request.sink(message)

    async def _read_errors(self) -> None:
        while data := await self._process.stderr.read(_TAIL):
            self._tail = (self._tail + data)[-_TAIL:]

    def _ended(self, reason: str) -> None:
        """The process is gone: nothing that waits for it may wait on."""
        if self._look is not None:
            self._look.cancel()
        if not self._closing:
            self.crash = reason
            tail = self._tail.decode("utf-8", errors="replace").strip()
            log.error("model process %s: %s%s", self._label, reason, f"; it last said:\n{tail}" if tail else "")
        self._tell_everybody(reason)

    def _tell_everybody(self, reason: str) -> None:
        if not self.loaded.done():
            self.loaded.set_exception(ModelError(f"The model could not be loaded: {reason}.", FailCode.CRASHED))
        self.loaded.exception()
        requests, self._requests = self._requests, {}
        if not requests:
            return
        self.died_of_loner = self.door.has_loner
        message = f"The model's process ended: {reason}."
        failed = Failed(code=FailCode.CRASHED, message=message, in_company=len(requests) > 1)
        for request in requests.values():
            request.sink(failed)
        self.on_idle()

    def _watch_on(self) -> None:
        """Look at the process once it has been silent for a while; at rest there is nothing to look at."""
        if self._look is None:
            self._look = self._loop.call_later(self._watchdog.terms.silent_s, self._maybe_look)

    def _maybe_look(self) -> None:
        self._look = None
        if not self.alive or (self.loaded.done() and not self._requests):
            return
        now, silent_s = self._loop.time(), self._watchdog.terms.silent_s
        if self._heard_at != self._judged_at:
            self._judged_at = self._heard_at
            self._watchdog.heard()
            self._eyes.rest()
        if now - self._heard_at < silent_s:
            self._look = self._loop.call_at(self._heard_at + silent_s, self._maybe_look)
            return
        self._hangs = self._watchdog.judge(self._eyes.look(), now)
        if self._hangs:
            self._hangs = f"its process {self._hangs}"
            self._process.kill()
            self._tell_everybody(self._hangs)
        else:
            self._watch_on()


async def start_executor(
    launcher: Launcher,
    spec: SandboxSpec,
    load: Load,
    label: str,
    on_loading: Callable[[Loading], None],
    watch: WatchTerms = _WATCH,
) -> tuple[ExecutorClient, Ready]:
    """Start an executor and wait until it can serve.

    Raises:
        ModelError: the model cannot be loaded; the process has ended.
        SandboxUnavailableError: no process was started.
    """
    process = await launcher.launch(spec)
    client = ExecutorClient(process, label, on_loading, watch)
    try:
        process.stdin.write(encode_framed(load))
        ready = await asyncio.shield(client.loaded)
    except BaseException:
        client.kill()
        await client.wait()
        raise
    return client, ready


def _ending(status: int, over_memory: str) -> str:
    if over_memory:
        return f"its process was killed for its memory: {over_memory[:1].lower()}{over_memory[1:].rstrip('.')}"
    if status < 0:
        return f"its process was killed by signal {-status}"
    return f"its process ended with status {status}"
