"""The model cache while no worker runs: looked at and tidied under the lock that a running one would hold."""

from gogrid.places import WorkerPlaces
from runner.control import RunnerLock
from runner.control_messages import CachedModels
from runner.models.disk import ModelDisk
from runner.models.eviction import unused
from runner.models.names import load_names
from runner.models.shown import models_shown


def list_models(places: WorkerPlaces) -> CachedModels:
    """Raises `RunnerError` if a worker runs after all."""
    with RunnerLock(places.lock):
        disk = ModelDisk(places.models)
        disk.open()
        return models_shown(disk.models(frozenset()), load_names(places.model_names))


def prune_models(places: WorkerPlaces, unused_s: float, now: float) -> CachedModels:
    """Remove what nobody has used for so long; returns what is gone.

    Args:
        now: wall clock, seconds since 1970.

    Raises:
        RunnerError: a worker runs after all.
    """
    with RunnerLock(places.lock):
        disk = ModelDisk(places.models)
        disk.open()
        gone = unused(disk.models(frozenset()), now - unused_s)
        for model in gone:
            disk.remove(model.digest)
        return models_shown(gone, load_names(places.model_names))
