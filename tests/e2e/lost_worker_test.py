"""A worker that is lost in the middle of answers, seen by the unchanged `openai` client: nothing happens.

Two real workers with the echo engine at 20 ms a token. Each test begins answers one after another, so that the cut
meets them at their beginning, in their middle and near their end, and holds every answer against the one that nobody
disturbed.
"""

import asyncio
import signal
import subprocess
import sysconfig
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import openai
import psutil
import pytest

from tests.faults.faultgrid import FaultGrid, GridWorker, within, words_of
from tests.faults.impairment import BLACKHOLE

pytestmark = pytest.mark.sandbox

TOKENS = 45
ANSWERS = 6
STAGGER_S = 0.15
ASK = [{"role": "user", "content": f"#echo chunks={TOKENS} delay_ms=20\none two three four five six seven"}]
WORKER = str(Path(sysconfig.get_path("scripts")) / "gogrid-worker")


@pytest.fixture
async def client(pair: FaultGrid) -> AsyncIterator[openai.AsyncOpenAI]:
    endpoint = pair.local.endpoint
    async with openai.AsyncOpenAI(
        base_url=f"{endpoint.plain_url}/v1", api_key=pair.local.admin_key, max_retries=0, timeout=30
    ) as made:
        yield made


@dataclass
class Heard:
    """One answer as the client saw it."""

    text: str = ""
    pause_s: float = 0.0
    """The longest time without a token once the first was there."""
    usage: tuple[int, int] = (0, 0)
    finish: str = ""


async def listen(client: openai.AsyncOpenAI, **asked: object) -> Heard:
    heard, last = Heard(), 0.0
    stream = await client.chat.completions.create(
        model="echo", messages=ASK, stream=True, stream_options={"include_usage": True}, **asked
    )
    async for chunk in stream:
        now = time.monotonic()
        if chunk.usage is not None:
            heard.usage = (chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
        for choice in chunk.choices:
            if choice.delta.content:
                heard.pause_s = max(heard.pause_s, now - last) if last else 0.0
                heard.text, last = heard.text + choice.delta.content, now
            heard.finish = choice.finish_reason or heard.finish
    return heard


@pytest.fixture(scope="module")
def undisturbed(pair: FaultGrid) -> Heard:
    async def once() -> Heard:
        endpoint = pair.local.endpoint
        async with openai.AsyncOpenAI(base_url=f"{endpoint.plain_url}/v1", api_key=pair.local.admin_key) as client:
            return await listen(client)

    heard = asyncio.run(once())
    assert len(heard.text.split()) == TOKENS
    return heard


async def staggered(client: openai.AsyncOpenAI, **asked: object) -> list[asyncio.Task[Heard]]:
    """Answers under way, the first of them nearly over."""
    tasks = []
    for _ in range(ANSWERS):
        tasks.append(asyncio.create_task(listen(client, **asked)))
        await asyncio.sleep(STAGGER_S)
    return tasks


async def busiest(pair: FaultGrid) -> GridWorker:
    def counts() -> dict[str, int]:
        return {name: int(str(worker["running"])) for name, worker in pair.listed().items()}

    running = await asyncio.to_thread(counts)
    name = max(running, key=running.__getitem__)
    assert running[name] > 1, running
    return pair.worker(name)


async def judge(undisturbed: Heard, tasks: list[asyncio.Task[Heard]], pause_s: float) -> None:
    answers = await asyncio.gather(*tasks)
    for answer in answers:
        assert answer.text == undisturbed.text
        assert answer.usage == undisturbed.usage
        assert answer.finish == undisturbed.finish
    assert max(answer.pause_s for answer in answers) > 0.03
    assert max(answer.pause_s for answer in answers) <= pause_s


@asynccontextmanager
async def mended(pair: FaultGrid) -> AsyncIterator[None]:
    """Whatever happens inside, two good workers afterwards."""
    try:
        yield
    finally:
        await asyncio.to_thread(pair.mend)


def executor_of(worker: GridWorker) -> psutil.Process:
    return next(one for one in worker.family() if "runner.executor" in words_of(one) and "bwrap" not in one.name())


async def test_a_runner_killed_with_kill_9(pair: FaultGrid, client: openai.AsyncOpenAI, undisturbed: Heard) -> None:
    async with mended(pair):
        tasks = await staggered(client)
        (await busiest(pair)).kill()
        await judge(undisturbed, tasks, 2.5)


async def test_a_runner_that_is_frozen(pair: FaultGrid, client: openai.AsyncOpenAI, undisturbed: Heard) -> None:
    async with mended(pair):
        tasks = await staggered(client)
        worker = await busiest(pair)
        worker.freeze()
        await judge(undisturbed, tasks, 2.5)
        assert await asyncio.to_thread(within, 5.0, lambda: pair.avoids(worker.name))


async def test_an_executor_killed_with_kill_9(pair: FaultGrid, client: openai.AsyncOpenAI, undisturbed: Heard) -> None:
    async with mended(pair):
        tasks = await staggered(client)
        executor_of(await busiest(pair)).kill()
        await judge(undisturbed, tasks, 2.5)


async def test_an_executor_that_is_frozen(pair: FaultGrid, client: openai.AsyncOpenAI, undisturbed: Heard) -> None:
    async with mended(pair):
        tasks = await staggered(client)
        executor_of(await busiest(pair)).send_signal(signal.SIGSTOP)
        await judge(undisturbed, tasks, 4.0)


async def test_a_network_that_is_cut(pair: FaultGrid, client: openai.AsyncOpenAI, undisturbed: Heard) -> None:
    async with mended(pair):
        tasks = await staggered(client)
        pair.proxies[(await busiest(pair)).name].conditions(BLACKHOLE, BLACKHOLE)
        await judge(undisturbed, tasks, 2.5)


async def test_a_drain_by_the_admin(pair: FaultGrid, client: openai.AsyncOpenAI, undisturbed: Heard) -> None:
    tasks = await staggered(client)
    worker_id = str(pair.listed()[(await busiest(pair)).name]["id"])
    try:
        await asyncio.to_thread(pair.local.admin_command, "worker", "drain", worker_id)
        await judge(undisturbed, tasks, 1.0)
    finally:
        await asyncio.to_thread(pair.local.admin_command, "worker", "undrain", worker_id)


async def test_a_pause_by_the_owner(pair: FaultGrid, client: openai.AsyncOpenAI, undisturbed: Heard) -> None:
    tasks = await staggered(client)
    worker = await busiest(pair)
    command = [WORKER, "--data", str(pair.folder / worker.name)]
    try:
        await asyncio.to_thread(subprocess.run, [*command, "pause"], check=True)
        assert await asyncio.to_thread(within, 1.0, lambda: pair.listed()[worker.name]["running"] == 0)
        await judge(undisturbed, tasks, 1.0)
    finally:
        await asyncio.to_thread(subprocess.run, [*command, "resume"], check=True)
        await asyncio.to_thread(pair.wait_ready)


async def test_a_worker_that_is_stopped(pair: FaultGrid, client: openai.AsyncOpenAI, undisturbed: Heard) -> None:
    async with mended(pair):
        tasks = await staggered(client)
        await asyncio.to_thread((await busiest(pair)).stop)
        await judge(undisturbed, tasks, 1.5)


async def test_an_answer_asked_for_whole_and_exact_survives_as_well(
    pair: FaultGrid, client: openai.AsyncOpenAI, undisturbed: Heard
) -> None:
    async with mended(pair):
        whole = [
            asyncio.create_task(
                client.chat.completions.create(
                    model="echo", messages=ASK, seed=7, logprobs=True, extra_body={"resume": "exact"}
                )
            )
            for _ in range(4)
        ]
        await asyncio.sleep(0.6)
        (await busiest(pair)).kill()
        for answer in await asyncio.gather(*whole):
            assert answer.choices[0].message.content == undisturbed.text
            logprobs = answer.choices[0].logprobs
            assert logprobs is not None
            assert "".join(entry.token for entry in logprobs.content or []) == undisturbed.text
