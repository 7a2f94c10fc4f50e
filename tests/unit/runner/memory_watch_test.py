"""Over the cap twice means killed; once, before, or long ago does not."""

import pytest

from runner.sandbox.memory_watch import SAMPLE_EVERY_S, Sample, over


def samples(*used: int, start: float = 10.0) -> list[Sample]:
    return [Sample(start + index * SAMPLE_EVERY_S, bytes_) for index, bytes_ in enumerate(used)]


@pytest.mark.parametrize(
    ("used", "killed"),
    [
        ((), False),
        ((11,), False),
        ((11, 11), True),
        ((11, 10), False),
        ((10, 11), False),
        ((11, 10, 11), False),
        ((9, 11, 12), True),
        ((10, 10), False),
    ],
)
def test_over_the_cap_twice_in_a_row_kills(used: tuple[int, ...], killed: bool) -> None:
    taken = samples(*used)
    assert over(taken, 10, taken[-1].at if taken else 0.0) is killed


def test_stale_samples_kill_nobody() -> None:
    taken = samples(11, 11)
    assert over(taken, 10, taken[-1].at + 1.0)
    assert not over(taken, 10, taken[-1].at + 2.5)


def test_lowered_cap_counts_at_once_for_what_was_seen() -> None:
    taken = samples(11, 11)
    assert not over(taken, 20, taken[-1].at)
    assert over(taken, 5, taken[-1].at)


def test_kill_comes_within_a_second_of_crossing() -> None:
    """Crossed right after a look: the next two looks see it."""
    taken = samples(9, 11, 11)
    assert over(taken, 10, taken[-1].at)
    assert taken[-1].at - taken[0].at <= 1.0
