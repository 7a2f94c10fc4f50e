"""Room on disk and in memory: whatever the numbers, no cap is broken and nothing in use is taken away."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gogrid.ids import Sha256
from runner.errors import ModelError
from runner.models.eviction import CachedModel, disk_use, make_room
from runner.serving.capacity import grant

names = st.integers(0, 30).map(lambda n: Sha256(f"{n:064x}"))
sizes = st.integers(0, 100)


@st.composite
def cached(draw: st.DrawFn) -> tuple[CachedModel, ...]:
    content = draw(st.dictionaries(names, sizes, max_size=12))
    digests = draw(st.lists(names, unique=True, max_size=6))
    return tuple(
        CachedModel(
            digest,
            {name: content[name] for name in draw(st.sets(st.sampled_from(sorted(content)), max_size=4))}
            if content
            else {},
            draw(sizes),
            draw(st.floats(0, 100)),
            draw(st.booleans()),
        )
        for digest in digests
    )


@settings(deadline=None)
@given(cached(), st.dictionaries(names, sizes, max_size=4), st.integers(0, 400))
def test_the_disk_cap_holds_and_pinned_models_stay(
    models: tuple[CachedModel, ...], wanted: dict[Sha256, int], cap: int
) -> None:
    incoming = CachedModel(Sha256("new"), wanted, 0, 0.0, True)
    try:
        gone = make_room(models, wanted, cap)
    except ModelError:
        pinned = tuple(model for model in models if model.pinned)
        assert disk_use((*pinned, incoming)) > cap
        return
    kept = tuple(model for model in models if model.digest not in gone)
    assert disk_use((*kept, incoming)) <= cap
    assert not any(model.pinned for model in models if model.digest in gone)
    if gone:
        newest = max(model.last_used for model in models if model.digest in gone)
        assert all(model.pinned or model.last_used >= newest for model in kept)


@settings(deadline=None)
@given(st.integers(1, 1000), st.integers(0, 1000))
def test_a_grant_is_at_least_the_need_and_never_more_than_is_free(need: int, extra: int) -> None:
    assert need <= grant(need, need + extra) <= need + extra
