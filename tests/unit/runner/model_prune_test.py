"""Models that nobody has used for long may be removed; those in use never are."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gogrid.ids import Sha256
from runner.models.cache import ModelCache
from runner.models.disk import ModelDisk, delete_tree
from tests.fakes.local_models import MemoryBlobs
from tests.fakes.stored_models import store_model


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "models"
    delete_tree(tmp_path / "models")


def cache_of(root: Path, count: int, cap: int = 10**9) -> tuple[ModelCache, list[Sha256]]:
    """Models used at 1, 2, 3 …"""
    blobs = MemoryBlobs()
    digests = [store_model(root, blobs, used=float(number + 1), note=number) for number in range(count)]
    cache = ModelCache(ModelDisk(root), blobs, cap, lambda: 100.0)
    cache.open()
    return cache, digests


def test_only_what_was_not_used_since_goes_the_longest_unused_first(root: Path) -> None:
    cache, digests = cache_of(root, 3)
    told: list[str] = []
    cache.changed = lambda: told.append("changed")
    assert [model.digest for model in cache.prune(2.5)] == digests[:2]
    assert cache.cached == (digests[2],)
    assert told
    assert [path.name for path in (root / "views").iterdir()] == [digests[2]]


def test_a_model_in_use_is_never_removed(root: Path) -> None:
    cache, digests = cache_of(root, 2)
    with cache.pinned(digests[0]):
        assert [model.pinned for model in sorted(cache.models(), key=lambda model: model.last_used)] == [True, False]
        assert [model.digest for model in cache.prune(50.0)] == [digests[1]]
        assert cache.cached == (digests[0],)
        cache.relimit(0)
        assert cache.cached == (digests[0],)
    assert [model.digest for model in cache.prune(50.0)] == [digests[0]]


def test_a_lower_disk_cap_counts_at_once(root: Path) -> None:
    cache, digests = cache_of(root, 3)
    for digest in digests:
        (root / "converted" / digest).mkdir()
        (root / "converted" / digest / "weights").write_bytes(b"w" * 100)
    cache.relimit(300)
    assert len(cache.cached) == 3
    cache.relimit(250)
    assert set(cache.cached) == set(digests[1:])
    with cache.pinned(digests[1]):
        cache.relimit(50)
    assert cache.cached == (digests[1],)
