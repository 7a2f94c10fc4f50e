"""The models on disk as their owner sees them. Pure."""

from collections.abc import Iterable, Mapping

from gogrid.ids import Sha256
from runner.control_messages import CachedModels, CachedModelShown
from runner.models.eviction import CachedModel, disk_use


def models_shown(models: Iterable[CachedModel], names: Mapping[Sha256, str]) -> CachedModels:
    """Args: `names` as the coordinator calls them, as far as it has said."""
    return CachedModels(
        models=tuple(
            CachedModelShown(
                digest=model.digest,
                name=names.get(model.digest, ""),
                disk_bytes=disk_use((model,)),
                last_used=model.last_used,
                in_use=model.pinned,
            )
            for model in sorted(models, key=lambda model: model.last_used)
        )
    )
