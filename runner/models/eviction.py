"""Which cached models make room for another one, or for nothing. Pure.

Promises: models in use stay; the one not used for longest goes first; nothing goes if that would not be enough.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from gogrid.ids import Sha256
from gogrid.protocol.job_messages import FailCode
from gogrid.sizes import format_size
from runner.errors import ModelError


@dataclass(frozen=True, slots=True)
class CachedModel:
    digest: Sha256
    blobs: Mapping[Sha256, int]
    """Its files by content, with their bytes; models may share some."""
    own_bytes: int
    """What it has beside its files: its converted form."""
    last_used: float
    """Seconds since 1970."""
    pinned: bool
    """In use or being fetched."""


def disk_use(models: tuple[CachedModel, ...]) -> int:
    """Bytes on disk; shared files count once."""
    shared: dict[Sha256, int] = {}
    for model in models:
        shared.update(model.blobs)
    return sum(shared.values()) + sum(model.own_bytes for model in models)


def make_room(models: tuple[CachedModel, ...], wanted: Mapping[Sha256, int], cap: int) -> tuple[Sha256, ...]:
    """The models to remove so that `wanted` files fit beside the rest.

    Raises:
        ModelError: even without all models that are not in use they do not fit.
    """
    kept = list(models)
    gone: list[Sha256] = []
    candidates = sorted((model for model in models if not model.pinned), key=lambda model: model.last_used)
    incoming = CachedModel(Sha256(""), wanted, 0, 0.0, True)
    while disk_use((*kept, incoming)) > cap:
        if not candidates:
            need = sum(wanted.values())
            raise ModelError(
                f"The model needs {format_size(need)} of disk and the cache may hold {format_size(cap)}"
                f" (worker.disk_cap), of which {format_size(disk_use(tuple(kept)))} is in use now.",
                FailCode.NO_ROOM,
            )
        victim = candidates.pop(0)
        kept.remove(victim)
        gone.append(victim.digest)
    return tuple(gone)


def unused(models: tuple[CachedModel, ...], since: float) -> tuple[CachedModel, ...]:
    """Those that nobody has used since then (seconds since 1970) nor uses now, the longest unused first."""
    old = (model for model in models if not model.pinned and model.last_used < since)
    return tuple(sorted(old, key=lambda model: model.last_used))
