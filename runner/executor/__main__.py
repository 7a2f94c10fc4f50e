"""The process inside the sandbox: frames in on standard input, frames out on standard output, one model in between.

Promises: nothing a library prints can reach the frames, because they travel on private duplicates of the descriptors
and descriptor 1 leads to standard error; standard input closed ends the process at once, whatever it is doing; a
request that goes wrong is told so and disturbs no other; an engine that goes wrong fails every request it holds and
ends the process. What leaves together is one `Step`, split only where a frame's limits need it; `pacing.py` says when.
"""

import os
import queue
import signal
import sys
import threading
import time
import traceback
from typing import NoReturn

from gogrid.errors import ProtocolError
from gogrid.protocol.codec import Codec, encode_framed
from gogrid.protocol.framing import FrameDecoder
from gogrid.protocol.job_messages import FailCode, Failed, Finished
from gogrid.protocol.wire import Wire
from gogrid.protocol.worker_report import LoadStage
from runner.errors import JobError, ModelError
from runner.executor.batches import into_steps
from runner.executor.company import Company, patience_of
from runner.executor.engines.base import Engine
from runner.executor.engines.registry import create
from runner.executor.messages import Abort, Item, Load, LoadFailed, Loading, Submit, ToExecutor
from runner.executor.pacing import Pacer, beat_of

_READ = 1 << 16
_EXIT_BROKEN = 70
_EXIT_PROTOCOL = 76


class Pipes:
    """The two private descriptors; reads on a thread of its own, writes where it is called."""

    def __init__(self) -> None:
        self._input, self._output = os.dup(0), os.dup(1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)
        self._inbox: queue.SimpleQueue[Load | Submit | Abort] = queue.SimpleQueue()
        threading.Thread(target=self._read, name="commands", daemon=True).start()

    def wait(self) -> Load | Submit | Abort:
        """The next command, however long it takes."""
        return self._inbox.get()

    def wait_for(self, seconds: float) -> Load | Submit | Abort | None:
        """The next command; None if none comes in time."""
        try:
            return self._inbox.get(timeout=seconds)
        except queue.Empty:
            return None

    def waiting(self) -> bool:
        return not self._inbox.empty()

    def send(self, message: Wire) -> None:
        view = memoryview(encode_framed(message))
        while view:
            view = view[os.write(self._output, view) :]

    def _read(self) -> None:
        codec: Codec[Load | Submit | Abort] = Codec(ToExecutor, tasks=True)
        decoder = FrameDecoder()
        try:
            while data := os.read(self._input, _READ):
                for frame in decoder.feed(data):
                    self._inbox.put(codec.decode(frame))
        except ProtocolError as error:
            print(f"executor: {error}", file=sys.stderr, flush=True)
            os._exit(_EXIT_PROTOCOL)
        os._exit(0)


class Server:
    """Feeds one engine from the pipes until they close."""

    def __init__(self, engine: Engine, pipes: Pipes, pacer: Pacer, company: Company) -> None:
        self._engine, self._pipes, self._pacer, self._company = engine, pipes, pacer, company
        self._open: set[int] = set()

    def serve(self) -> NoReturn:
        while True:
            refused = self._obey_all()
            try:
                items = self._engine.step() if self._engine.busy else ()
            except Exception as error:  # noqa: BLE001  the boundary of the engine: whatever it was, everyone is told
                self._broken(error)
            self._say(self._pacer.due((*refused, *items), time.monotonic()))

    def _obey_all(self) -> list[Item]:
        """Do what has come; while there is nothing to do, wait for it, and then for its company."""
        refused: list[Item] = []
        while True:
            command: Load | Submit | Abort | None
            if self._pipes.waiting() or not (self._engine.busy or refused):
                command = self._pipes.wait()
            else:
                pause = self._company.pause(len(self._open), time.monotonic())
                command = self._pipes.wait_for(pause) if pause and not refused else None
                if command is None:
                    return refused
            idle = not self._engine.busy
            refused += self._obey(command)
            if isinstance(command, Submit) and self._engine.busy:
                self._company.came(time.monotonic(), first=idle)

    def _obey(self, command: Load | Submit | Abort) -> list[Item]:
        """Do as told; what has to be said at once about it."""
        if isinstance(command, Load):
            raise ProtocolError("A second Load came to an executor.")
        if isinstance(command, Abort):
            self._open.discard(command.request)
            self._engine.abort(command.request)
            self._pacer.forget(command.request)
            return []
        try:
            self._engine.submit(command.request, command.task)
        except JobError as error:
            failed = Failed(code=error.code, message=str(error), param=error.param)
        except Exception as error:  # noqa: BLE001  one request's fault must not become another's
            traceback.print_exc()
            failed = Failed(
                code=FailCode.INTERNAL, message=f"The model's engine refused this request: {_brief(error)}."
            )
        else:
            self._open.add(command.request)
            return []
        self._engine.abort(command.request)
        return [Item(request=command.request, message=failed)]

    def _say(self, items: tuple[Item, ...]) -> None:
        for step in into_steps(items):
            self._pipes.send(step)
        for item in items:
            if isinstance(item.message, Finished | Failed):
                self._open.discard(item.request)
                self._pacer.forget(item.request)

    def _broken(self, error: Exception) -> NoReturn:
        traceback.print_exc()
        sys.stderr.flush()
        failed = Failed(code=FailCode.CRASHED, message=f"The model's engine broke: {_brief(error)}.")
        last = tuple(Item(request=request, message=failed) for request in sorted(self._open))
        self._say(self._pacer.due(last, time.monotonic()))
        os._exit(_EXIT_BROKEN)


def main() -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal reaches the whole group; the runner decides
    pipes = Pipes()
    load = pipes.wait()
    if not isinstance(load, Load):
        raise ProtocolError(f"{type(load).__name__} came to an executor before Load.")

    def report(stage: LoadStage, fraction: float) -> None:
        pipes.send(Loading(stage=stage, fraction=fraction))

    try:
        engine = create(load, report)
    except ModelError as error:
        _end(pipes, LoadFailed(code=error.code, message=str(error)))
    except MemoryError:
        _end(pipes, LoadFailed(code=FailCode.NO_ROOM, message="The model does not fit into this machine's memory."))
    except Exception as error:  # noqa: BLE001  a library may raise anything over a stranger's model
        traceback.print_exc()
        message = f"The model cannot be loaded: {_brief(error)}."
        _end(pipes, LoadFailed(code=FailCode.MODEL_UNUSABLE, message=message))
    pipes.send(engine.ready())
    if load.convert:
        engine.close()
        os._exit(0)
    Server(engine, pipes, Pacer(beat_of(load.device)), Company(patience_of(load.engine, load.device))).serve()


def _end(pipes: Pipes, failure: LoadFailed) -> NoReturn:
    pipes.send(failure)
    sys.stderr.flush()
    os._exit(1)


def _brief(error: Exception) -> str:
    """One short line of what a library said."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")
    return f"{type(error).__name__}: {line.rstrip('.')[:200]}"


if __name__ == "__main__":
    main()
