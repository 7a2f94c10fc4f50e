"""The owner lends less while answers are under way: they go on elsewhere; what fits nowhere is refused in numbers."""

import asyncio
import subprocess
import sysconfig
import time
from pathlib import Path

import openai
import pytest

from tests.faults.faultgrid import FaultGrid, within, words_of

pytestmark = pytest.mark.sandbox

TOKENS = 60
ASK = [{"role": "user", "content": f"#echo chunks={TOKENS} delay_ms=25\none two three four five six seven"}]
WORKER = str(Path(sysconfig.get_path("scripts")) / "gogrid-worker")
TOO_LITTLE = "0.5MB"
"""Less than the echo model's estimate."""


def configure(pair: FaultGrid, name: str, *words: str) -> None:
    subprocess.run([WORKER, "--data", str(pair.folder / name), "config", *words], check=True, capture_output=True)


def cap(pair: FaultGrid, name: str) -> int:
    devices = pair.listed()[name]["devices"]
    assert isinstance(devices, list)
    return int(devices[0]["cap_bytes"])


def executors(pair: FaultGrid, name: str) -> int:
    """Processes of this worker that serve models."""
    return sum("runner.executor" in " ".join(words_of(one)) for one in pair.worker(name).family())


async def listen(client: openai.AsyncOpenAI) -> tuple[str, float]:
    """The answer, and the longest time without a token."""
    text, last, longest = "", 0.0, 0.0
    async for chunk in await client.chat.completions.create(model="echo", messages=ASK, stream=True):  # type: ignore[call-overload]
        if chunk.choices and chunk.choices[0].delta.content:
            now = time.monotonic()
            longest = max(longest, now - last) if last else 0.0
            text, last = text + chunk.choices[0].delta.content, now
    return text, longest


async def test_a_lower_limit_takes_effect_within_a_second_and_answers_go_on(pair: FaultGrid) -> None:
    endpoint = pair.local.endpoint
    async with openai.AsyncOpenAI(
        base_url=f"{endpoint.plain_url}/v1", api_key=pair.local.admin_key, timeout=30
    ) as client:
        whole, _ = await listen(client)
        tasks = [asyncio.create_task(listen(client)) for _ in range(6)]
        await asyncio.sleep(0.6)
        running = {name: int(str(worker["running"])) for name, worker in pair.listed().items()}
        name = max(running, key=running.__getitem__)
        assert running[name] > 1
        before = cap(pair, name)
        try:
            await asyncio.to_thread(configure, pair, name, "max_ram", TOO_LITTLE)
            assert await asyncio.to_thread(
                within, 1.0, lambda: cap(pair, name) == 500_000 and executors(pair, name) == 0
            )
            answers = await asyncio.gather(*tasks)
            assert {text for text, _ in answers} == {whole}
            assert max(longest for _, longest in answers) <= 1.5
        finally:
            await asyncio.to_thread(configure, pair, name, "max_ram", "50%")
            assert await asyncio.to_thread(within, 1.0, lambda: cap(pair, name) == before)


async def test_a_model_that_fits_no_worker_any_more_is_refused_with_the_numbers(pair: FaultGrid) -> None:
    endpoint = pair.local.endpoint
    async with openai.AsyncOpenAI(
        base_url=f"{endpoint.plain_url}/v1", api_key=pair.local.admin_key, max_retries=0
    ) as client:
        try:
            for name in ("a", "b"):
                await asyncio.to_thread(edit, pair, name, TOO_LITTLE)
                assert await asyncio.to_thread(within, 1.5, lambda name=name: cap(pair, name) == 500_000)  # type: ignore[misc]
            with pytest.raises(openai.BadRequestError) as refused:
                await client.chat.completions.create(model="echo", messages=ASK)  # type: ignore[call-overload]
            assert refused.value.code == "model_too_large"
            assert "This model needs 1.0 MB and the largest worker, " in str(refused.value)
            assert "lends 500.0 kB" in str(refused.value) or "lends 500 kB" in str(refused.value)
        finally:
            for name in ("a", "b"):
                await asyncio.to_thread(edit, pair, name, "50%")


def edit(pair: FaultGrid, name: str, limit: str) -> None:
    """As an owner does with an editor: nobody is told."""
    path = pair.folder / name / "config.toml"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("max_ram")] if path.exists() else []
    if "[worker]" not in lines:
        lines.append("[worker]")
    lines.insert(lines.index("[worker]") + 1, f'max_ram = "{limit}"')
    path.write_text("\n".join(lines) + "\n")


async def test_a_bad_edit_changes_nothing(pair: FaultGrid) -> None:
    path = pair.folder / "a" / "config.toml"
    good, before = path.read_text(), cap(pair, "a")
    try:
        path.write_text(good + "\n[worker\n")
        await asyncio.sleep(1.0)
        assert cap(pair, "a") == before
        done = subprocess.run(
            [WORKER, "--data", str(pair.folder / "a"), "status"], capture_output=True, text=True, check=True
        )
        assert "ready" in done.stdout
    finally:
        path.write_text(good)
