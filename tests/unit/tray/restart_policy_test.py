"""When the supervisor starts the runner again."""

from tray.restart import Again, GiveUp, RestartRules, Restarts

RULES = RestartRules(first_delay_s=1, longest_delay_s=5, healthy_after_s=60, most_crashes=5)


def test_a_crashing_runner_comes_back_later_each_time_and_is_given_up_in_the_end() -> None:
    restarts = Restarts(RULES)
    verdicts = [restarts.ended(-9, 0.1) for _ in range(5)]
    assert [verdict.delay_s for verdict in verdicts if isinstance(verdict, Again)] == [1, 2, 4, 5]
    last = verdicts[-1]
    assert isinstance(last, GiveUp)
    assert last.exit_code == 2
    assert "5 times in a row (last: was killed by signal 9)" in last.reason


def test_a_good_long_run_forgives_earlier_crashes() -> None:
    restarts = Restarts(RULES)
    for _ in range(20):
        assert isinstance(restarts.ended(70, 0.1), Again)
        assert restarts.ended(70, 61.0) == Again(1, "the worker ended with status 70; starting it again in 1 s")


def test_a_runner_that_says_it_cannot_run_is_left_alone() -> None:
    for status in (0, 1, 2):
        verdict = Restarts(RULES).ended(status, 0.1)
        assert isinstance(verdict, GiveUp)
        assert verdict.exit_code == status
