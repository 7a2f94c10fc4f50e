"""The bare engine: the same code that runs in the sandbox, called directly, in this process, with nothing around it."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from gogrid.ids import Sha256
from gogrid.protocol.job_messages import Failed, Finished, TextDone, Tokens
from gogrid.protocol.tasks import ChatMessage, ChatTask, ModelRef, Sampling
from gogrid.protocol.worker_report import DeviceKind
from runner.executor.engines.base import Engine
from runner.executor.engines.registry import create
from runner.executor.messages import Load


@dataclass(frozen=True, slots=True)
class Bare:
    first_s: tuple[float, ...]
    """Of each request."""
    total_s: float
    requests: int
    tokens: int


def load(engine: str, model_path: str, threads: int) -> Engine:
    order = Load(engine=engine, model_path=model_path, device=DeviceKind.CPU, threads=threads, cap_bytes=8 << 30)
    return create(order, lambda stage, fraction: None)


def task(text: str, max_tokens: int) -> ChatTask:
    return ChatTask(
        model=ModelRef(name="m", digest=Sha256("0" * 64)),
        messages=(ChatMessage(role="user", content=text),),
        sampling=Sampling(temperature=0.0, max_tokens=max_tokens, seed=1),
    )


def closed_loop(engine: Engine, texts: list[str], max_tokens: int, clients: int) -> Bare:
    """Keep `clients` requests in the engine until every text was answered."""
    waiting: Iterator[tuple[int, str]] = iter(enumerate(texts))
    began: dict[int, float] = {}
    first: dict[int, float] = {}
    tokens = done = 0
    start = time.perf_counter()

    def submit_next() -> None:
        for number, text in waiting:
            began[number] = time.perf_counter()
            engine.submit(number, task(text, max_tokens))
            return

    for _ in range(clients):
        submit_next()
    while done < len(texts):
        for item in engine.step():
            if isinstance(item.message, Tokens) and item.message.text and item.request not in first:
                first[item.request] = time.perf_counter() - began[item.request]
            elif isinstance(item.message, Failed):
                raise RuntimeError(item.message.message)
            elif isinstance(item.message, Finished) and isinstance(item.message.result, TextDone):
                tokens += item.message.result.completion_tokens
                done += 1
                submit_next()
    return Bare(tuple(first.values()), time.perf_counter() - start, len(texts), tokens)
