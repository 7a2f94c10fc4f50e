"""Who has to go when memory is used beyond what was granted; threat table row 11."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from runner.sandbox.memory_watch import SAMPLE_EVERY_S
from runner.serving.overuse import Holding, Overuse, Verdict

GB = 10**9
CAP = 8 * GB


def model(key: int, used: float, share: float = 4) -> Holding:
    return Holding(key, int(used * GB), int(share * GB), bound=False)


def script(key: int, used: float, limit: float = 2) -> Holding:
    return Holding(key, int(used * GB), int(limit * GB), bound=True)


def judged(*looks: Sequence[Holding], cap: int = CAP) -> list[Verdict]:
    overuse = Overuse("memory")
    return [verdict for at, look in enumerate(looks) for verdict in overuse.judge(look, cap, at * SAMPLE_EVERY_S)]


def test_one_look_over_the_cap_kills_nobody() -> None:
    assert judged([model(1, 9)], [model(1, 3)], [model(1, 9)], [model(1, 3)]) == []


def test_two_looks_over_the_cap_kill_and_the_words_name_use_and_cap() -> None:
    (verdict,) = judged([model(1, 8.5)], [model(1, 9)])
    assert verdict == Verdict(1, "used 9.0 GB of memory and its owner lends 8.0 GB")


def test_models_together_over_the_cap_cost_the_one_that_grew_past_its_share() -> None:
    look = [model(1, 3.9), model(2, 4.4), model(3, 0.2, 1)]
    (verdict,) = judged(look, look)
    assert verdict.key == 2
    assert (
        verdict.reason == "used 4.4 GB of memory (its share was 4.0 GB), with others 8.5 GB, and its owner lends 8.0 GB"
    )


def test_the_largest_one_does_not_pay_for_a_small_one_that_grew() -> None:
    look = [model(1, 5.5, 6), model(2, 3.5, 1)]
    assert [verdict.key for verdict in judged(look, look)] == [2]


def test_a_model_past_its_share_stays_while_there_is_room_for_all() -> None:
    assert judged(*[[model(1, 6), model(2, 1.5)]] * 9) == []


def test_a_script_over_its_own_limit_goes_though_there_is_room() -> None:
    (verdict,) = judged([script(1, 2.1), model(2, 1)], [script(1, 2.2), model(2, 1)])
    assert verdict == Verdict(1, "used 2.2 GB of memory and its limit is 2.0 GB")


def test_nobody_pays_for_what_a_script_took() -> None:
    look = [script(1, 6), model(2, 3.9)]
    assert [verdict.key for verdict in judged(look, look)] == [1]


def test_after_a_kill_those_left_are_judged_anew() -> None:
    look = [model(1, 5), model(2, 4.5)]
    assert [verdict.key for verdict in judged(look, look, [model(2, 8.5)], [model(2, 1)])] == [1]
    assert [verdict.key for verdict in judged(look, look, [model(2, 8.5)], [model(2, 8.5)])] == [1, 2]


def test_a_lower_cap_counts_at_the_next_look() -> None:
    overuse, look = Overuse("GPU memory"), [model(1, 6)]
    assert overuse.judge(look, CAP, 0.0) == ()
    assert overuse.judge(look, 5 * GB, 0.25)[0].reason == "used 6.0 GB of GPU memory and its owner lends 5.0 GB"
    assert overuse.judge([model(2, 4.9)], 5 * GB, 0.5) == overuse.judge([model(2, 4.9)], 5 * GB, 0.75) == ()


holdings = st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10), st.booleans()), min_size=0, max_size=5).map(
    lambda them: [Holding(key, used, share, bound) for key, (used, share, bound) in enumerate(them)]
)


@given(holdings, st.integers(0, 30))
def test_whoever_stays_over_is_killed_within_a_second_and_nobody_else_is(look: list[Holding], cap: int) -> None:
    overuse, left = Overuse("memory"), {one.key: one for one in look}
    for turn in range(2 * len(look) + 2):
        before = list(left.values())
        for verdict in overuse.judge(before, cap, turn * SAMPLE_EVERY_S):
            gone = left.pop(verdict.key)
            assert (gone.bound and gone.used > gone.share) or sum(one.used for one in before) > cap
        if turn * SAMPLE_EVERY_S <= 1.0 - SAMPLE_EVERY_S:
            continue
        assert not any(one.bound and one.used > one.share for one in left.values())
    assert sum(one.used for one in left.values()) <= cap
