"""How soon a machine is its owner's again: from an input at its display until its models' processes are gone.

Two workers with the echo engine at 20 ms a token; at one of them somebody sits down fifty times while it answers. Every
answer is held against the one that nobody disturbed; its pause is the longest time it stood still.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import openai
import psutil

from benchmarks.display import Seat
from benchmarks.display import display as virtual_display
from benchmarks.figures import Figure
from gogrid.client.local_grid import LocalGrid

OWNED, OTHER = "owned", "other"
ROUNDS = 50
STREAMS = 4
CHUNKS = 150
DELAY_MS = 20
GONE_S = 1.0
_IDLE_S = 2
_PATIENCE_S = 30.0
_ASK = f"#echo chunks={CHUNKS} delay_ms={DELAY_MS}\none two three four five six seven eight"


def measure(folder: Path) -> Iterator[Figure]:
    with virtual_display() as seat, OwnedPair(folder, seat) as pair:
        whole = asyncio.run(pair.answers(1))[0].text
        pair.round()  # from here on both have the model in memory
        rounds = [pair.round() for _ in range(ROUNDS)]
    gone = sorted(one.gone_s for one in rounds)
    moved = [answer for one in rounds for answer in one.answers]
    wrong = sum(answer.text != whole for answer in moved)
    yield Figure("owner's input to the last model process gone, p50", gone[len(gone) // 2], "s", None, False)
    detail = f"{len(gone)} times, longest {gone[-1]:.3f} s"
    yield Figure("owner's input to the last model process gone, p99", _p99(gone), "s", GONE_S, False, detail)
    pauses = sorted(answer.pause_s for answer in moved)
    detail = f"{len(moved)} answers, all going on elsewhere"
    yield Figure("pause of an answer that moved, p99", _p99(pauses), "s", None, False, detail)
    yield Figure("answers that show it", wrong, "", 0, False, f"of {len(moved)}")


def _p99(values: list[float]) -> float:
    """Of sorted ones."""
    return values[min(len(values) - 1, len(values) * 99 // 100)]


@dataclass(frozen=True, slots=True)
class Answer:
    text: str
    pause_s: float


@dataclass(frozen=True, slots=True)
class Round:
    gone_s: float
    answers: tuple[Answer, ...]


class OwnedPair:
    """Two workers; one of them looks at a display and stands back for two seconds after each input there."""

    def __init__(self, folder: Path, seat: Seat) -> None:
        folder.mkdir(exist_ok=True)
        self._folder, self._seat = folder, seat
        # An empty variable leaves it to each worker's file.
        self.grid = LocalGrid(folder, {"DISPLAY": seat.name, "GOGRID_PAUSE_ON_ACTIVITY": "", "WAYLAND_DISPLAY": ""})
        self._ids: dict[str, str] = {}

    def __enter__(self) -> Self:
        try:
            self.grid.init()
            self.grid.add_model("echo")
            self.grid.start_coordinator()
            for name, pauses in ((OWNED, "true"), (OTHER, "false")):
                (self._folder / name).mkdir()
                settings = f'[worker]\npause_on_activity = {pauses}\nactivity_idle = "{_IDLE_S}s"\n'
                (self._folder / name / "config.toml").write_text(settings)
                self._ids[name] = self.grid.start_worker(name).id
        except BaseException:
            self.grid.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.grid.stop()

    def readiness(self) -> tuple[str, str]:
        """Of the owned worker, as the coordinator has it, with the reason."""
        with self.grid.client() as client:
            return next((one.readiness, one.reason) for one in client.workers() if one.id == self._ids[OWNED])

    async def answers(self, count: int) -> tuple[Answer, ...]:
        """So many, asked for at once."""
        url = f"{self.grid.endpoint.plain_url}/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key=self.grid.admin_key, timeout=60) as client:
            return tuple(await asyncio.gather(*(_listen(client) for _ in range(count))))

    def round(self) -> Round:
        """Until the owned worker may work; then its owner comes back in the middle of its answers."""
        self._until(lambda: self.readiness()[0] == "ready")
        return asyncio.run(self._round())

    async def _round(self) -> Round:
        await self._admin("drain")
        asked = asyncio.create_task(self.answers(STREAMS))
        while await asyncio.to_thread(self._running) < STREAMS:
            await asyncio.sleep(0.05)
        await self._admin("undrain")
        at_work = self._executors()
        await asyncio.sleep(random.random() * 0.4)  # anywhere between two looks
        began = time.monotonic()
        self._seat.move()
        while any(map(_holds_memory, at_work)):
            if time.monotonic() - began > _PATIENCE_S:
                raise RuntimeError("The worker did not give its machine back.")
            await asyncio.sleep(0.002)
        gone_s = time.monotonic() - began
        return Round(gone_s, await asked)

    async def _admin(self, command: str) -> None:
        """So that the answers begin where their owner will come back."""
        await asyncio.to_thread(self.grid.admin_command, "worker", command, self._ids[OTHER])

    def _running(self) -> int:
        with self.grid.client() as client:
            return sum(worker.running for worker in client.workers() if worker.id == self._ids[OWNED])

    def _executors(self) -> list[psutil.Process]:
        """The owned worker's processes that serve models, with their sandboxes."""
        family = psutil.Process(self.grid.pid_of(OWNED)).children(recursive=True)
        return [child for child in family if "runner.executor" in " ".join(child.cmdline())]

    def _until(self, true: Callable[[], bool]) -> None:
        end = time.monotonic() + _PATIENCE_S
        while not true():
            if time.monotonic() > end:
                raise RuntimeError(f"The owned worker does not work again: {self.readiness()}")
            time.sleep(0.05)


def _holds_memory(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def _listen(client: openai.AsyncOpenAI) -> Answer:
    text, last, longest = "", 0.0, 0.0
    ask: list[dict[str, str]] = [{"role": "user", "content": _ASK}]
    async for chunk in await client.chat.completions.create(model="echo", messages=ask, stream=True):  # type: ignore[call-overload]
        if chunk.choices and chunk.choices[0].delta.content:
            now = time.monotonic()
            longest = max(longest, now - last) if last else 0.0
            text, last = text + chunk.choices[0].delta.content, now
    return Answer(text, longest)
