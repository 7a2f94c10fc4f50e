"""What the HTTP handlers need from the rest of the coordinator, and the limits they keep.

Built once at start and passed down; handlers reach nothing else. The clock is a field, so that tests may own time.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from coordinator.http.visitors import VisitorLimits
from coordinator.records import KeyRecord, ModelRecord
from coordinator.releases.offers import NoReleases, Releases
from coordinator.state.blobs import BlobStore
from coordinator.store.base import Store
from coordinator.tickets import Jobs, Requests
from coordinator.views import LiveState


class Keyring(Protocol):
    """The API keys, in memory."""

    def authenticate(self, bearer: str, now: float) -> KeyRecord:
        """Raises `KeyRefusedError`, of which `UnknownKeyError` may not be so any more after `Services.look_again`."""


class Catalogue(Protocol):
    """The models, in memory."""

    def models(self) -> list[ModelRecord]: ...

    def model(self, name: str) -> ModelRecord:
        """Raises `UnknownModelError`."""


_VISITORS = VisitorLimits()


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds."""

    json_bytes: int = 1_000_000
    """Of a JSON body; below the wire's 1 MiB frame, so that any accepted request fits one `Assign`."""
    bundle_bytes: int = 8 << 20
    """All files of one Python job."""
    bundle_files: int = 1000
    job_memory_bytes: int = 1 << 42
    """What one Python job may ask for at most; this and the next four."""
    job_cores: float = 1024.0
    job_wall_s: float = 7 * 86400.0
    job_output_bytes: int = 1 << 30
    job_output_files: int = 4000
    prompt_chars: int = 256 << 10
    """Text of one chat, prompt or embedding input, in characters."""
    embedding_inputs: int = 2048
    choices: int = 128
    """Answers one request may ask for: prompts times `n`."""
    bulk_bytes: int = 16 << 20
    """Of the body of a bulk of jobs."""
    bulk_jobs: int = 10_000
    read_s: float = 10.0
    """Silence of a client that still owes us a body."""
    read_bytes_per_s: int = 64 << 10
    """Slower bodies are given up."""
    write_s: float = 30.0
    """A client that takes nothing for this long has gone."""
    keep_alive_s: float = 15.0
    """A stream that is silent for this long gets a comment line."""
    visitors: VisitorLimits = _VISITORS
    """Whoever asks without a key."""
    loading_s: float = 5.0
    """A stream whose model is loading begins after this long, and gets a comment line as often."""


_NONE = NoReleases()


async def _all_is_known() -> None:
    """Where keys come from nowhere else."""


@dataclass(frozen=True, slots=True)
class Services:
    requests: Requests
    jobs: Jobs
    store: Store
    live: LiveState
    keyring: Keyring
    catalogue: Catalogue
    blobs: BlobStore
    identity_pem: bytes
    """Public certificate of the identity key, for clients that hold its pin."""
    name: str
    """The coordinator's display name."""
    releases: Releases = _NONE
    limits: Limits = Limits()
    docs: bool = True
    """Whether `/docs` is served."""
    clock: Callable[[], float] = time.time
    look_again: Callable[[], Awaitable[None]] = _all_is_known
    """Reads keys that were made beside this process a moment ago; raises `StoreUnavailableError`."""
