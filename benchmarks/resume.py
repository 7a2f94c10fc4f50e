"""How many of a hundred answers, cut at a random token and gone on with, are those that nothing had interrupted.

Real model, real engine, called directly. Half of the answers are greedy and half drawn with a seed. Each is computed
once alone, cut, and gone on with in both modes: alone, and in a full batch of strangers of other lengths that come
and go. Each of these has an engine of its own, as another worker would, so that nothing is left of the first run.
Then what going on costs: the time until the first new token after a long beginning.
"""

import random
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from benchmarks import bare
from benchmarks.figures import Figure
from gogrid.client.demo.steps import CHAT_MODEL, model_sources
from gogrid.protocol.job_messages import Failed, Finished, JobMessage, Tokens
from gogrid.protocol.tasks import ChatTask, Resume, ResumeMode, Sampling
from gogrid.protocol.worker_report import DeviceKind
from runner.executor.engines.base import Engine
from runner.executor.engines.registry import create
from runner.executor.messages import Load

ANSWERS = 100
TOKENS = 24
AT_ONCE = 8
LONG = 200
_THREADS = 2
_SUBJECTS = ("the sea", "a lighthouse and its keeper", "winter in a small town", "a clock that ran backwards")


def measure(folder: Path) -> Iterator[Figure]:
    model = _converted(folder)
    chance = random.Random(1)
    tasks = [_question(number) for number in range(ANSWERS)]
    with _worker(model) as engine:
        device = engine.ready().device
        whole = [_alone(engine, task) for task in tasks]
    cuts = [chance.randrange(1, len(answer)) for answer in whole]
    expected = [answer[cut:] for answer, cut in zip(whole, cuts, strict=True)]
    for mode in ResumeMode:
        rest = [_resumed(task, answer[:cut], mode) for task, answer, cut in zip(tasks, whole, cuts, strict=True)]
        with _worker(model) as engine:
            alone = [_alone(engine, task) for task in rest]
            yield _figure(f"{mode.value}, alone", expected, alone, device, 100 if mode is ResumeMode.EXACT else None)
        with _worker(model) as engine:
            among = _among_strangers(engine, rest, chance)
            yield _figure(f"{mode.value}, with {AT_ONCE - 1} others", expected, among, device, None)
    with _worker(model) as engine:
        yield from _waits(engine)


def _figure(how: str, expected: list[list[int]], found: list[list[int]], device: str, limit: float | None) -> Figure:
    same = [mine == theirs for mine, theirs in zip(expected, found, strict=True)]
    greedy, seeded = sum(same[::2]), sum(same[1::2])
    return Figure(
        what=f"answers cut and gone on with as if uninterrupted: {how}",
        value=sum(same) * 100 / len(same),
        unit="of 100",
        limit=limit,
        detail=f"greedy {greedy} of {len(same[::2])}, seeded {seeded} of {len(same[1::2])}; {device}",
    )


def _waits(engine: Engine) -> Iterator[Figure]:
    for mode in ResumeMode:
        taken = []
        for number in range(0, 6, 2):
            task = _question(number, tokens=LONG + 1)
            known = [1000 + number + place for place in range(LONG)]
            start = time.perf_counter()
            _alone(engine, _resumed(task, known if mode is ResumeMode.EXACT else known[::-1], mode))
            taken.append(time.perf_counter() - start)
        yield Figure(f"time to the first token after {LONG} known ones: {mode.value}", min(taken), "s")


def _question(number: int, tokens: int = TOKENS) -> ChatTask:
    subject = _SUBJECTS[number % len(_SUBJECTS)]
    task = bare.task(f"Write story number {number} about {subject}." + " Make it long." * (number % 23), tokens)
    chance = Sampling(temperature=1.0, top_p=0.95, seed=number + 1, max_tokens=tokens)
    return msgspec.structs.replace(task, sampling=chance) if number % 2 else task


def _resumed(task: ChatTask, ids: list[int], mode: ResumeMode) -> ChatTask:
    return msgspec.structs.replace(task, resume=Resume(token_ids=tuple(ids), mode=mode))


def _alone(engine: Engine, task: ChatTask) -> list[int]:
    engine.submit(0, task)
    said: list[int] = []
    while engine.busy:
        said += _ids(item.message for item in engine.step())
    return said


def _among_strangers(engine: Engine, tasks: list[ChatTask], chance: random.Random) -> list[list[int]]:
    """The tasks one after the other, each beside strangers; a stranger that ends makes way for another."""
    said: list[list[int]] = []
    strangers: set[int] = set()
    numbers = iter(range(1, 1 << 30))
    for task in tasks:
        engine.submit(0, task)
        answer: list[int] = []
        over = False
        while not over:
            while len(strangers) < AT_ONCE - 1:
                strangers.add(number := next(numbers))
                engine.submit(number, _question(chance.randrange(10_000), tokens=chance.randrange(5, 60)))
            for item in engine.step():
                over = over or (item.request == 0 and isinstance(item.message, Finished))
                if item.request == 0:
                    answer += _ids((item.message,))
                elif isinstance(item.message, Finished):
                    strangers.remove(item.request)
        said.append(answer)
    for number in strangers:
        engine.abort(number)
    return said


def _ids(messages: Iterable[JobMessage]) -> Iterator[int]:
    for message in messages:
        if isinstance(message, Failed):
            raise RuntimeError(message.message)
        if isinstance(message, Tokens):
            yield from message.token_ids


def _converted(folder: Path) -> str:
    source = next(source for source in model_sources() if source.name == CHAT_MODEL)
    given, converted = folder / "given", folder / "converted"
    given.mkdir()
    converted.mkdir()
    (given / source.path.name).symlink_to(source.path)
    order = Load(
        engine="torch",
        model_path=str(given),
        device=DeviceKind.CPU,
        threads=_THREADS,
        cap_bytes=8 << 30,
        work_path=str(converted),
        convert=True,
    )
    create(order, lambda stage, fraction: None).close()
    return str(converted)


@contextmanager
def _worker(model: str) -> Iterator[Engine]:
    engine = bare.load("torch", model, _THREADS)
    try:
        yield engine
    finally:
        engine.close()
