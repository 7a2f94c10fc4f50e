"""The executor through real pipes: nothing corrupts its frames, and it never outlives its input."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from gogrid.protocol.codec import Codec, encode_framed
from gogrid.protocol.framing import FrameDecoder
from gogrid.protocol.job_messages import FailCode, Failed, Finished, JobMessage, Vectors
from gogrid.protocol.tasks import EmbeddingTask
from gogrid.protocol.wire import Wire
from gogrid.protocol.worker_report import DeviceKind
from runner.executor.messages import Abort, FromExecutor, Load, LoadFailed, Ready, Step, Submit
from tests.conformance.engine_suite import MODEL, chat, completion, done_of, ids_of, text_of
from tests.torch_models import smollm2

ROOT = Path(__file__).parents[3]
ECHO = Load(engine="echo", model_path="", device=DeviceKind.CPU, threads=1, cap_bytes=1 << 30)

_LAYERS = 30
"""Of SmolLM2-135M."""
_LAYER = b"\x01"


class Executor:
    """An executor at the other end of two pipes."""

    def __init__(self, *, program: tuple[str, ...] = ("-m", "runner.executor")) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
        )
        self._codec: Codec[FromExecutor] = Codec(FromExecutor)
        self._decoder = FrameDecoder()
        self._messages: list[FromExecutor] = []

    def send(self, message: Wire) -> None:
        assert self.process.stdin
        self.process.stdin.write(encode_framed(message))
        self.process.stdin.flush()

    def receive(self) -> FromExecutor | None:
        """The next message; None when there will be none."""
        assert self.process.stdout
        while not self._messages:
            data = os.read(self.process.stdout.fileno(), 1 << 16)
            if not data:
                return None
            self._messages += (self._codec.decode(frame) for frame in self._decoder.feed(data))
        return self._messages.pop(0)

    def collect(self, *numbers: int) -> dict[int, list[JobMessage]]:
        """What these requests say, until each has ended or the process has."""
        said: dict[int, list[JobMessage]] = {number: [] for number in numbers}
        while not all(said[number] and isinstance(said[number][-1], Finished | Failed) for number in numbers):
            step = self.receive()
            if step is None:
                break
            assert isinstance(step, Step)
            for item in step.items:
                said.setdefault(item.request, []).append(item.message)
        return said

    def end(self) -> tuple[int, float]:
        """Close its input; its status, and how long it took to go."""
        assert self.process.stdin
        start = time.monotonic()
        self.process.stdin.close()
        return self.process.wait(timeout=10), time.monotonic() - start

    def errors(self) -> str:
        assert self.process.stderr
        return self.process.stderr.read().decode()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe:
                pipe.close()


def stop(executor: Executor) -> None:
    executor.process.send_signal(signal.SIGSTOP)
    while psutil.Process(executor.process.pid).status() != psutil.STATUS_STOPPED:
        time.sleep(0.001)


@pytest.fixture
def executor() -> Iterator[Executor]:
    started = Executor()
    started.send(ECHO)
    assert isinstance(started.receive(), Ready)
    yield started
    started.close()


def test_requests_are_answered_side_by_side(executor: Executor) -> None:
    executor.send(Submit(request=1, task=chat("one two three")))
    executor.send(Submit(request=2, task=chat("#echo chunks=20 delay_ms=2\nhé 🙂")))
    said = executor.collect(1, 2)
    assert text_of(said[1]) == "one two three"
    assert done_of(said[2]).completion_tokens == 12


def test_input_closed_while_idle_ends_it_within_a_second(executor: Executor) -> None:
    status, took = executor.end()
    assert (status, took < 1) == (0, True)


def test_input_closed_in_the_middle_of_a_long_step_ends_it_within_a_second(executor: Executor) -> None:
    executor.send(Submit(request=1, task=chat("#echo chunks=9 delay_ms=30000\nx")))
    time.sleep(0.1)
    status, took = executor.end()
    assert (status, took < 1) == (0, True)


@pytest.mark.torch
@pytest.mark.timeout(400)
def test_input_closed_while_torch_computes_ends_it_in_the_middle_of_its_forward_pass() -> None:
    program = (
        "import os, runpy\n"
        "from torch.nn.modules.module import register_module_forward_pre_hook\n"
        "def told(module, inputs):\n"
        f"    if 'DecoderLayer' in type(module).__name__: os.write(2, {_LAYER!r})\n"
        "register_module_forward_pre_hook(told)\n"
        "runpy.run_module('runner.executor', run_name='__main__')\n"
    )
    computing = Executor(program=("-c", program))
    try:
        path = str(smollm2())
        computing.send(Load(engine="torch", model_path=path, device=DeviceKind.CPU, threads=2, cap_bytes=3 << 30))
        while not isinstance(computing.receive(), Ready):
            assert computing.process.poll() is None
        assert computing.process.stderr
        layers = computing.process.stderr.fileno()
        os.set_blocking(layers, False)
        with suppress(BlockingIOError):
            os.read(layers, 1 << 16)  # it has tried itself
        os.set_blocking(layers, True)
        computing.send(Submit(request=1, task=chat("Count the stars. " * 1200, max_tokens=0)))
        begun = 0
        while begun < 2:
            told = os.read(layers, 1 << 16)
            assert told, "it ended by itself"
            begun += told.count(_LAYER)
        status, _ = computing.end()
        begun += computing.process.stderr.read().count(_LAYER)
        assert (status, begun < _LAYERS) == (0, True)
    finally:
        computing.close()


def test_stopped_and_continued_it_goes_on_with_the_same_answer(executor: Executor) -> None:
    executor.send(Submit(request=1, task=chat("#echo chunks=40 delay_ms=5\na b c", max_tokens=0)))
    executor.receive()
    stop(executor)
    executor.send(Submit(request=2, task=chat("asked while it was stopped")))
    executor.process.send_signal(signal.SIGCONT)
    said = executor.collect(1, 2)
    assert done_of(said[1]).completion_tokens == 40
    assert text_of(said[2]) == "asked while it was stopped"


def test_input_closed_while_it_was_stopped_ends_it_once_continued(executor: Executor) -> None:
    executor.send(Submit(request=1, task=chat("#echo chunks=9 delay_ms=30000\nx")))
    stop(executor)
    assert executor.process.stdin
    executor.process.stdin.close()
    with pytest.raises(subprocess.TimeoutExpired):
        executor.process.wait(timeout=0.1)
    executor.process.send_signal(signal.SIGCONT)
    assert executor.process.wait(timeout=5) == 0


def test_aborted_request_falls_silent_and_others_go_on(executor: Executor) -> None:
    executor.send(Submit(request=1, task=chat("#echo chunks=4000 delay_ms=1\nx", max_tokens=0)))
    executor.send(Submit(request=2, task=chat("#echo chunks=50 delay_ms=1\ny", max_tokens=0)))
    executor.send(Abort(request=1))
    said = executor.collect(2)
    assert done_of(said[2]).completion_tokens == 50
    assert not isinstance(said.get(1, [None])[-1], Finished | Failed)
    executor.send(Submit(request=3, task=chat("z")))
    assert set(executor.collect(3)) == {3}


def test_one_bad_request_fails_alone(executor: Executor) -> None:
    executor.send(Submit(request=1, task=chat("#echo chunks=30 delay_ms=2\nx", max_tokens=0)))
    executor.send(Submit(request=2, task=chat("word " * 5000)))
    executor.send(Submit(request=3, task=chat("#echo nonsense\nx")))
    said = executor.collect(1, 2, 3)
    assert done_of(said[1]).completion_tokens == 30
    assert [message.code for message in (*said[2], *said[3]) if isinstance(message, Failed)] == [
        FailCode.CONTEXT_LENGTH,
        FailCode.BAD_REQUEST,
    ]


def test_broken_engine_fails_every_request_and_ends(executor: Executor) -> None:
    executor.send(Submit(request=1, task=chat("#echo chunks=50 delay_ms=2\nx", max_tokens=0)))
    executor.send(Submit(request=2, task=chat("#echo chunks=50 fail_after=3\nx", max_tokens=0)))
    said = executor.collect(1, 2)
    for messages in said.values():
        last = messages[-1]
        assert isinstance(last, Failed)
        assert last.code is FailCode.CRASHED
        assert "\n" not in last.message
    assert executor.process.wait(timeout=10) == 70


def test_death_without_a_word_is_seen_as_the_end(executor: Executor) -> None:
    executor.send(Submit(request=1, task=chat("#echo chunks=50 die_after=3\nx", max_tokens=0)))
    assert not isinstance(executor.collect(1)[1][-1], Finished | Failed)
    assert executor.process.wait(timeout=10) == 71


def test_large_vectors_come_in_frames_that_fit(executor: Executor) -> None:
    executor.send(Submit(request=1, task=EmbeddingTask(model=MODEL, inputs=("x",) * 2048)))
    said = executor.collect(1)[1]
    assert sum(len(message.data) for message in said if isinstance(message, Vectors)) == 2048 * 32


@pytest.mark.parametrize("word", ["x" * 100_000, "🙂" * 25_000])
def test_a_word_longer_than_any_message_does_not_end_it(executor: Executor, word: str) -> None:
    executor.send(Submit(request=1, task=chat(f"before {word} behind", logprobs=0)))
    said = executor.collect(1)[1]
    assert text_of(said) == f"before {word} behind"
    assert len(ids_of(said)) == done_of(said).completion_tokens == 3
    executor.send(Submit(request=2, task=chat("still here")))
    assert text_of(executor.collect(2)[2]) == "still here"


def test_an_echoed_prompt_longer_than_any_message_does_not_end_it(executor: Executor) -> None:
    prompt = "fourteen-bytes " * 2800
    executor.send(Submit(request=1, task=completion(prompt, echo=True, max_tokens=2)))
    said = executor.collect(1)[1]
    assert text_of(said) == prompt + "fourteen-bytes fourteen-bytes"
    assert len(ids_of(said)) == done_of(said).completion_tokens == 2
    executor.send(Submit(request=2, task=chat("still here")))
    assert text_of(executor.collect(2)[2]) == "still here"


def test_stray_prints_do_not_corrupt_the_frames() -> None:
    program = (
        "import os, runpy, sys, threading, time\n"
        "def shout():\n"
        "    while True:\n"
        "        os.write(1, b'stray bytes'); print('stray words', flush=True); os.system('echo stray child')\n"
        "        time.sleep(.002)\n"
        "def later():\n"
        "    while not os.path.sameopenfile(1, 2): time.sleep(.002)\n"
        "    shout()\n"
        "threading.Thread(target=later, daemon=True).start()\n"
        "runpy.run_module('runner.executor', run_name='__main__')\n"
    )
    executor = Executor(program=("-c", program))
    try:
        executor.send(ECHO)
        assert isinstance(executor.receive(), Ready)
        executor.send(Submit(request=1, task=chat("#echo chunks=60 delay_ms=10\nx", max_tokens=0)))
        assert done_of(executor.collect(1)[1]).completion_tokens == 60
        assert executor.end()[0] == 0
        assert "stray words" in executor.errors()
    finally:
        executor.close()


def test_interrupt_of_the_terminal_does_not_end_it(executor: Executor) -> None:
    executor.process.send_signal(signal.SIGINT)
    executor.send(Submit(request=1, task=chat("still here")))
    assert text_of(executor.collect(1)[1]) == "still here"


@pytest.mark.parametrize(
    ("load", "why"),
    [
        (Load(engine="magic", model_path="/", device=DeviceKind.CPU, threads=1, cap_bytes=1), "no engine 'magic'"),
        (Load(engine="torch", model_path="/nowhere", device=DeviceKind.CPU, threads=1, cap_bytes=1), "no folder"),
    ],
)
def test_model_that_cannot_be_loaded_is_told_in_one_line(load: Load, why: str) -> None:
    executor = Executor()
    try:
        executor.send(load)
        failed = executor.receive()
        assert isinstance(failed, LoadFailed)
        assert why in failed.message
        assert executor.process.wait(timeout=10) == 1
        assert "Traceback" not in executor.errors()
    finally:
        executor.close()


def test_nonsense_on_its_input_ends_it(executor: Executor) -> None:
    assert executor.process.stdin
    executor.process.stdin.write(b"\xff" * 64)
    executor.process.stdin.flush()
    assert executor.process.wait(timeout=10) == 76
    assert "Traceback" not in executor.errors()


def test_echo_is_ready_at_once() -> None:
    best, tries = 9.0, 5
    while best >= 0.5 and tries:
        tries -= 1
        start = time.monotonic()
        executor = Executor()
        executor.send(ECHO)
        assert isinstance(executor.receive(), Ready)
        best = min(best, time.monotonic() - start)
        executor.close()
    assert best < 0.5
