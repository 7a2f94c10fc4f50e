"""Executors that hang, die or are merely slow: looked at by virtual time, and for real."""

import asyncio
import os
import signal
import time
from pathlib import Path

from gogrid.protocol.job_messages import FailCode, Failed, Finished, JobMessage, Tokens
from gogrid.protocol.tasks import ChatMessage, ChatTask, EmbeddingTask, Sampling
from gogrid.protocol.worker_report import DeviceKind
from runner.executor.messages import Load
from runner.sandbox.base import SandboxSpec
from runner.serving.executor_client import ExecutorClient, start_executor
from runner.serving.watchdog import Look, Watchdog, WatchTerms
from tests import torch_models
from tests.conformance.engine_suite import MODEL
from tests.fakes.job_stream import MemoryStream
from tests.fakes.plain_launcher import PlainLauncher
from tests.fakes.worker_bench import Bench, bench, ended, until

TERMS = WatchTerms()
ECHO = Load(engine="echo", model_path="", device=DeviceKind.CPU, threads=1, cap_bytes=1 << 30)


def judged(looks: list[Look], every_s: float = TERMS.silent_s) -> list[str]:
    dog = Watchdog(TERMS)
    return [dog.judge(look, number * every_s) for number, look in enumerate(looks)]


def test_a_stopped_process_is_given_up_at_the_first_look() -> None:
    assert judged([Look(stopped=True, at_work=False, cpu_s=1.0)]) == ["was stopped from outside"]


def test_a_long_prefill_on_a_slow_cpu_is_not_given_up() -> None:
    busy = [Look(stopped=False, at_work=False, cpu_s=number * 0.4) for number in range(2000)]
    assert not any(judged(busy))
    swapping = [Look(stopped=False, at_work=True, cpu_s=1.0)] * 2000
    assert not any(judged(swapping))


def test_a_process_that_does_nothing_is_given_up_but_not_soon() -> None:
    said = judged([Look(stopped=False, at_work=False, cpu_s=1.0)] * 100)
    first = next(number for number, reason in enumerate(said) if reason)
    assert first * TERMS.silent_s == TERMS.stalled_s
    assert said[first] == "did nothing for 30 s with requests open"


def test_even_a_computing_process_has_an_end() -> None:
    busy = [Look(stopped=False, at_work=True, cpu_s=number * 0.5) for number in range(4000)]
    said = judged(busy)
    first = next(number for number, reason in enumerate(said) if reason)
    assert abs((first + 1) * TERMS.silent_s - TERMS.longest_s) < 2


def test_time_in_which_the_machine_slept_is_not_held_against_the_process() -> None:
    idle = Look(stopped=False, at_work=False, cpu_s=1.0)
    assert not any(judged([idle] * 20, every_s=3600.0))


def test_a_word_from_the_process_clears_it() -> None:
    dog, idle = Watchdog(TERMS), Look(stopped=False, at_work=False, cpu_s=1.0)
    for number in range(59):
        assert not dog.judge(idle, number * 0.5)
    dog.heard()
    assert not any(dog.judge(idle, 100 + number * 0.5) for number in range(59))


async def streaming(b: Bench, count: int) -> list[MemoryStream]:
    digest = b.blobs.echo_model(100)
    streams = [b.chat(digest, "#echo chunks=100000 delay_ms=5\nx") for _ in range(count)]
    await until(lambda: all(any(isinstance(m, Tokens) for m in stream.messages) for stream in streams))
    return streams


async def test_a_frozen_executor_ends_its_requests_at_once_and_the_next_one_works(tmp_path: Path) -> None:
    async with bench(tmp_path / "m") as b:
        streams = await streaming(b, 3)
        frozen = b.launcher.processes[0]
        os.kill(frozen.pid, signal.SIGSTOP)
        began = time.monotonic()
        await ended(*streams)
        assert time.monotonic() - began < 2 * TERMS.silent_s + 0.5
        for stream in streams:
            assert isinstance(stream.last, Failed)
            assert stream.last.code is FailCode.CRASHED
            assert "stopped from outside" in stream.last.message
        await ended(after := b.chat(b.blobs.echo_model(100), "fine again"))
        assert isinstance(after.last, Finished)
        assert await frozen.wait() == -signal.SIGKILL


async def test_an_executor_killed_mid_batch_fails_its_requests_and_the_next_one_works(tmp_path: Path) -> None:
    async with bench(tmp_path / "m") as b:
        streams = await streaming(b, 5)
        os.kill(b.launcher.processes[0].pid, signal.SIGKILL)
        await ended(*streams)
        for stream in streams:
            assert isinstance(stream.last, Failed)
            assert stream.last.code is FailCode.CRASHED
        await ended(after := b.chat(b.blobs.echo_model(100), "fine again"))
        assert isinstance(after.last, Finished)
        assert len(b.launcher.specs) == 2


def ask(text: str, max_tokens: int) -> ChatTask:
    return ChatTask(
        model=MODEL, messages=(ChatMessage(role="user", content=text),), sampling=Sampling(max_tokens=max_tokens)
    )


async def outcome(client: ExecutorClient, task: ChatTask | EmbeddingTask) -> JobMessage:
    done: asyncio.Future[JobMessage] = asyncio.get_running_loop().create_future()

    def sink(message: JobMessage) -> None:
        if isinstance(message, Finished | Failed):
            done.set_result(message)

    client.submit(task, sink)
    async with asyncio.timeout(30):
        return await done


async def test_nobody_looks_at_an_executor_at_rest() -> None:
    """No wake-ups: the timer ends with the last request."""
    terms = WatchTerms(silent_s=0.02)
    client, _ = await start_executor(PlainLauncher(), SandboxSpec(("runner.executor",)), ECHO, "e", print, terms)
    assert isinstance(await outcome(client, ask("hello", 4)), Finished)
    await until(lambda: client._look is None)
    assert isinstance(await outcome(client, ask("hello", 4)), Finished)
    await client.close()


async def test_a_slow_turn_is_looked_at_and_let_be() -> None:
    """A sleeping engine is silent and uses no processor time, but not for long enough to be given up."""
    terms = WatchTerms(silent_s=0.02, stalled_s=5.0)
    client, _ = await start_executor(PlainLauncher(), SandboxSpec(("runner.executor",)), ECHO, "e", print, terms)
    assert isinstance(await outcome(client, ask("#echo chunks=2 delay_ms=300\nx", 2)), Finished)
    await client.close()


async def test_an_executor_that_deadlocks_is_given_up() -> None:
    terms = WatchTerms(silent_s=0.05, stalled_s=0.4)
    client, _ = await start_executor(PlainLauncher(), SandboxSpec(("runner.executor",)), ECHO, "e", print, terms)
    said = await outcome(client, ask("#echo chunks=2 delay_ms=60000\nx", 2))
    assert isinstance(said, Failed)
    assert said.code is FailCode.CRASHED
    assert "did nothing" in said.message
    assert not client.alive
    await client.wait()


async def test_a_frozen_torch_executor_is_found_and_a_working_one_is_not() -> None:
    """A real model, embeddings for speed: its load and steps pass the sharpest look; a SIGSTOP amid them is found."""
    torch_models.need_engine()
    load = Load(
        engine="torch",
        model_path=str(torch_models.minilm()),
        device=DeviceKind.CPU,
        threads=2,
        cap_bytes=2 << 30,
    )
    launcher, terms = PlainLauncher(), WatchTerms(silent_s=0.1, stalled_s=3.0)
    client, _ = await start_executor(launcher, SandboxSpec(("runner.executor",)), load, "t", lambda _: None, terms)
    few, many = (EmbeddingTask(model=MODEL, inputs=("some long text " * 60,) * count) for count in (8, 1000))
    assert isinstance(await outcome(client, few), Finished)
    going = asyncio.create_task(outcome(client, many))
    await until(lambda: client.running == 1)
    os.kill(launcher.processes[0].pid, signal.SIGSTOP)
    said = await going
    assert isinstance(said, Failed)
    assert "stopped from outside" in said.message
    await client.wait()
