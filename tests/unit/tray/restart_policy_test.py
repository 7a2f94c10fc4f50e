"""When the supervisor starts the runner again."""

from gogrid.worker_exit import WorkerExit
from tray.supervision.restart import Life, Phase, RestartRules, Restarts

RULES = RestartRules(first_delay_s=1, longest_delay_s=5, healthy_after_s=60, most_crashes=5)


def test_a_crashing_runner_comes_back_later_each_time_and_is_given_up_in_the_end() -> None:
    restarts = Restarts(RULES)
    *again, last = [restarts.ended(-9, 0.1) for _ in range(5)]
    assert [life.phase for life in again] == [Phase.WAITS] * 4
    assert [life.delay_s for life in again] == [1, 2, 4, 5]
    assert last.phase is Phase.GIVEN_UP
    assert last.exit_code == 2
    assert "5 times in a row (last: was killed by signal 9)" in last.reason


def test_a_runner_that_has_its_engine_now_is_started_at_once_and_has_not_crashed() -> None:
    restarts = Restarts(RULES)
    for _ in range(20):
        life = restarts.ended(WorkerExit.START_ANEW, 0.1)
        assert (life.phase, life.delay_s, life.crashed) == (Phase.WAITS, 0.0, False)


def test_a_good_long_run_forgives_earlier_crashes() -> None:
    restarts = Restarts(RULES)
    expected = Life(Phase.WAITS, "the worker ended with status 70; starting it again in 1 s", crashed=True, delay_s=1)
    for _ in range(20):
        assert restarts.ended(70, 0.1).phase is Phase.WAITS
        assert restarts.ended(70, 61.0) == expected


def test_an_owner_who_starts_it_anew_forgives_earlier_crashes() -> None:
    restarts = Restarts(RULES)
    for _ in range(4):
        restarts.ended(70, 0.1)
    restarts.forgive()
    assert restarts.ended(70, 0.1).delay_s == 1


def test_a_runner_that_says_it_cannot_run_is_left_alone_and_its_word_is_kept() -> None:
    for status, code in ((0, 0), (WorkerExit.CANNOT_RUN, 2), (WorkerExit.TURNED_AWAY, 1)):
        life = Restarts(RULES).ended(status, 0.1)
        assert (life.phase, life.exit_code, life.crashed) == (Phase.GIVEN_UP, code, False)
    last_line = "gogrid-worker: The coordinator has revoked this worker."
    refused = Restarts(RULES).ended(WorkerExit.TURNED_AWAY, 0.1, last_line)
    assert refused.reason == "The coordinator has revoked this worker."
    silent = Restarts(RULES).ended(WorkerExit.CANNOT_RUN, 0.1, "Traceback …")
    assert silent.reason == "the worker cannot run; its log says why"


def test_a_runner_that_python_ends_or_windows_task_manager_kills_has_crashed() -> None:
    life = Restarts(RULES).ended(1, 0.1, "RuntimeError: nobody thought of this")
    assert (life.phase, life.crashed) == (Phase.WAITS, True)


def test_a_runner_that_has_joined_nobody_is_neither_a_crash_nor_given_up() -> None:
    life = Restarts(RULES).ended(WorkerExit.NOT_JOINED, 0.1, "gogrid-worker: This worker has not joined …")
    assert life.phase is Phase.NOT_JOINED
    assert not life.crashed
