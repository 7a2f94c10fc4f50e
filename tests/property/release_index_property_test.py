"""Whatever the admin does in whatever order: what is offered never goes back, and what was withdrawn stays away."""

from dataclasses import replace
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.errors import CoordinatorError
from coordinator.releases.index import Index, paused, published, rolled_out, withdrawn
from tests.fakes.update_publisher import APP, CHANNEL, NOW, Publisher, anchors
from updates.trust.publication import Checked, Publication, check_publication

SEQS, STAMPS, PERCENTS = st.integers(1, 4), st.integers(1, 5), st.sampled_from([5, 25, 100])


@cache
def checked(seq: int, first: int) -> Checked:
    publisher = Publisher(seq=seq)
    release = publisher.release()
    stamps = []
    for ts_seq, percent in enumerate((5, 25, 100), first * 2):
        stepped = replace(publisher, ts_seq=ts_seq, bend_timestamp=lambda d, p=percent: d.update(rollout_percent=p))
        stamps.append(stepped.timestamp(release))
    return check_publication(Publication((publisher.keys(),), release, tuple(stamps)), anchors(), NOW)


acts = st.one_of(
    st.tuples(st.just("publish"), SEQS, STAMPS, st.none() | PERCENTS),
    st.tuples(st.just("rollout"), PERCENTS),
    st.tuples(st.just("pause")),
    st.tuples(st.just("revoke"), SEQS),
)


def after(index: Index, act: tuple) -> Index:
    match act:
        case ("publish", seq, first, percent):
            return published(index, checked(seq, first), percent, NOW)
        case ("rollout", percent):
            return rolled_out(index, APP, CHANNEL, percent)
        case ("pause",):
            return paused(index, APP, CHANNEL)
        case _:
            return withdrawn(index, APP, CHANNEL, act[1])


@settings(max_examples=100, deadline=None)
@given(st.lists(acts, max_size=12))
def test_what_is_offered_never_goes_back(done: list[tuple]) -> None:
    index, seen, gone = Index(), (0, 0), set()
    for act in done:
        try:
            index = after(index, act)
        except CoordinatorError:
            continue
        if act[0] == "revoke":
            gone.add(act[1])
        line = index.line(APP, CHANNEL)
        if line.offered is not None:
            release, step = line.offered
            assert release.seq not in gone
            assert (release.seq, step.ts_seq) >= seen
            assert step.ts_seq >= seen[1]
            seen = (release.seq, step.ts_seq)
        assert line.highest_ts >= seen[1]
        assert len(line.releases) <= 3
