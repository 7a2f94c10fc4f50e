"""A runner that hangs is ended and started again; one that is slow to start, or whose machine slept, is not."""

import asyncio
import sys
import time
from pathlib import Path

import pytest

from tests.fakes.no_room import no_room
from tray.supervision.liveness import Liveness, LivenessRules
from tray.supervision.restart import Phase, RestartRules, Restarts
from tray.supervision.rotating_log import RotatingLog
from tray.supervision.supervisor import Supervisor

RULES = LivenessRules(every_s=10, silent_s=60, starting_s=300)
unix_only = pytest.mark.skipif(sys.platform == "win32", reason="signals and limits of Unix")


def silent_from(alive: Liveness, start: float, step: float = 10.0) -> float:
    """After how many seconds of looks without an answer it counts as hung."""
    now = start
    while not alive.looked(now := now + step, answered=False):
        assert now - start < 10_000
    return now - start


def test_a_runner_that_answered_and_does_not_for_a_minute_is_hung() -> None:
    alive = Liveness(RULES, 0.0)
    assert not alive.looked(10.0, answered=True)
    assert not any(alive.looked(10.0 + 10 * n, answered=False) for n in range(1, 6))
    assert not alive.looked(70.0, answered=True)
    assert silent_from(alive, 70.0) == 60.0


def test_a_runner_that_is_slow_to_start_is_given_longer() -> None:
    assert silent_from(Liveness(RULES, 0.0), 0.0) == 300.0


def test_a_machine_that_slept_has_no_hung_runner() -> None:
    alive = Liveness(RULES, 0.0)
    alive.looked(10.0, answered=True)
    assert not alive.looked(8 * 3600.0, answered=False)
    assert silent_from(alive, 8 * 3600.0) >= 40.0


def test_a_hung_runner_is_a_crash_with_the_usual_delays_until_it_is_given_up() -> None:
    restarts = Restarts(RestartRules(first_delay_s=1, most_crashes=3))
    lives = [restarts.hung(30.0) for _ in range(3)]
    assert [life.delay_s for life in lives[:2]] == [1, 2]
    assert lives[0].crashed
    assert "did not answer any more" in lives[0].reason
    assert lives[2].phase is Phase.GIVEN_UP
    assert restarts.hung(61.0).delay_s == 1


@unix_only
async def test_a_stopped_runner_is_killed_and_another_one_started(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    program = (
        "import os, signal, sys, time\n"
        "with open(sys.argv[1], 'a') as f: f.write('x')\n"
        "if os.path.getsize(sys.argv[1]) == 1: os.kill(os.getpid(), signal.SIGSTOP)\n"
    )
    marks = tmp_path / "lives"
    looks = 0

    async def answers() -> bool:
        nonlocal looks
        looks += 1
        return looks == 1

    supervisor = Supervisor(
        (sys.executable, "-c", program, str(marks)),
        tmp_path / "logs",
        RestartRules(first_delay_s=0.01),
        answers=answers,
        liveness=LivenessRules(every_s=0.25, silent_s=0.5, starting_s=60),
    )
    began = time.monotonic()
    assert await asyncio.wait_for(supervisor.run(), 20) == 0
    assert time.monotonic() - began < 10
    assert marks.stat().st_size == 2
    said = capfd.readouterr().err
    assert "does not answer any more; ending it" in said
    assert "starting it again" in said


@unix_only
def test_a_log_on_a_full_disk_says_so_in_one_line_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = RotatingLog(tmp_path, "worker")
    log.line("before")
    with no_room():
        for number in range(50):
            log.line(f"line {number}")
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 52
    assert [line for line in said if "takes no lines now" in line] == [
        f"gogrid-worker: the log {tmp_path / 'worker.log'} takes no lines now: File too large"
    ]
    log.line("after")
    with no_room():
        log.line("lost")
        log.close()
    assert "takes no lines now" in capsys.readouterr().err
    assert "after\n" in (tmp_path / "worker.log").read_text()
