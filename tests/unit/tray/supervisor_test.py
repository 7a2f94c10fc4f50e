"""The supervisor with a real, scripted child."""

import asyncio
import sys
from pathlib import Path

import pytest

from tray.supervision.restart import Phase, RestartRules
from tray.supervision.supervisor import Supervisor

FAST = RestartRules(first_delay_s=0.01, longest_delay_s=0.02, healthy_after_s=60, most_crashes=3)
GENTLE = """
def end(*_):
    os.write(2, b"clean end %d\\n" % n)  # not by `print`, which may be at work when the signal comes
    sys.exit(0)

signal.signal(signal.SIGTERM, end)
os.write(2, b"up %d\\n" % n)
time.sleep(60)
"""


def script(tmp_path: Path, body: str) -> tuple[str, ...]:
    """A child that counts its lives in a file and then does `body`, in which `n` is the number of this life."""
    program = (
        "import os, sys, signal, time\n"
        "with open(sys.argv[1], 'a') as f: f.write('x')\n"
        "n = os.path.getsize(sys.argv[1])\n" + body
    )
    return (sys.executable, "-c", program, str(tmp_path / "lives"))


def lives(tmp_path: Path) -> int:
    return (tmp_path / "lives").stat().st_size


async def test_a_crashed_runner_is_started_again(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = script(tmp_path, "print('life', n, file=sys.stderr, flush=True)\nif n < 3: os.kill(os.getpid(), 9)")
    assert await Supervisor(command, tmp_path / "logs", FAST).run() == 0
    assert lives(tmp_path) == 3
    log = (tmp_path / "logs" / "worker.log").read_text()
    assert "life 1\n" in log
    assert "was killed by signal 9; starting it again" in log
    assert capfd.readouterr().err == log


async def test_a_crash_loop_ends_and_says_why(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = script(tmp_path, "sys.exit(70)")
    assert await Supervisor(command, tmp_path / "logs", FAST).run() == 2
    assert lives(tmp_path) == 3
    assert "crashed 3 times in a row (last: ended with status 70)" in capfd.readouterr().err


@pytest.mark.parametrize(("status", "code"), [(2, 2), (4, 1)])
async def test_a_runner_that_cannot_run_is_not_started_again(tmp_path: Path, status: int, code: int) -> None:
    assert await Supervisor(script(tmp_path, f"sys.exit({status})"), tmp_path / "logs", FAST).run() == code
    assert lives(tmp_path) == 1


async def test_a_stop_lets_the_runner_finish(tmp_path: Path) -> None:
    supervisor = Supervisor(script(tmp_path, GENTLE), tmp_path / "logs", FAST)
    running = asyncio.create_task(supervisor.run())
    log = tmp_path / "logs" / "worker.log"
    while not log.exists() or "up" not in log.read_text():
        await asyncio.sleep(0.01)
    supervisor.stop()
    assert await asyncio.wait_for(running, 10) == 0
    assert "clean end" in log.read_text()


async def test_a_stop_while_waiting_to_start_again_ends_at_once(tmp_path: Path) -> None:
    slow = RestartRules(first_delay_s=60, longest_delay_s=60)
    supervisor = Supervisor(script(tmp_path, "sys.exit(70)"), tmp_path / "logs", slow)
    running = asyncio.create_task(supervisor.run())
    log = tmp_path / "logs" / "worker.log"
    while not log.exists() or "starting it again" not in log.read_text():
        await asyncio.sleep(0.01)
    supervisor.stop()
    async with asyncio.timeout(30):  # half of what it would wait
        assert await running == 0


async def test_a_line_without_end_does_not_stop_the_log(tmp_path: Path) -> None:
    body = "sys.stderr.write('y' * 300000 + chr(10) + 'after' + chr(10))"
    assert await Supervisor(script(tmp_path, body), tmp_path / "logs", FAST).run() == 0
    assert "after" in (tmp_path / "logs" / "worker.log").read_text()


async def test_a_runner_that_has_joined_nobody_is_not_started_until_it_has(tmp_path: Path) -> None:
    seen: list[Phase] = []
    supervisor = Supervisor(
        script(tmp_path, "sys.exit(3 if n == 1 else 0)"),
        tmp_path / "logs",
        FAST,
        changed=lambda: seen.append(supervisor.life.phase),
    )
    running = asyncio.create_task(supervisor.run())
    while Phase.NOT_JOINED not in seen:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)  # longer than the rules' longest delay
    assert lives(tmp_path) == 1
    supervisor.start()
    assert await running == 0
    assert lives(tmp_path) == 2


async def test_a_runner_that_was_given_up_is_kept_on_show_and_started_anew_on_request(tmp_path: Path) -> None:
    body = "print('gogrid-worker: no luck', file=sys.stderr)\nsys.exit(2)"
    supervisor = Supervisor(script(tmp_path, body), tmp_path / "logs", FAST, stays=True)
    running = asyncio.create_task(supervisor.run())
    for life in (1, 2):
        while supervisor.life.phase is not Phase.GIVEN_UP or lives(tmp_path) != life:
            await asyncio.sleep(0.01)
        assert supervisor.life.reason == "no luck"
        supervisor.start()
    supervisor.stop()
    assert await running == 0


async def test_a_runner_that_is_started_anew_ends_cleanly_first(tmp_path: Path) -> None:
    supervisor = Supervisor(script(tmp_path, GENTLE), tmp_path / "logs", FAST)
    running = asyncio.create_task(supervisor.run())
    log = tmp_path / "logs" / "worker.log"
    for awaited in ("up 1", "up 2"):
        while not log.exists() or awaited not in log.read_text():
            await asyncio.sleep(0.01)
        supervisor.start()
        await asyncio.sleep(0.1)  # longer than it takes to ask a runner to end: one runs, so nothing happens
        assert "clean end 2" not in log.read_text()
        assert log.read_text().count("clean end") == int(awaited[-1]) - 1
        supervisor.start(anew=awaited == "up 1")
    supervisor.stop()
    assert await running == 0
    assert [line for line in log.read_text().splitlines() if "supervisor" not in line] == [
        "up 1", "clean end 1", "up 2", "clean end 2"
    ]  # fmt: skip


async def written(log: Path, words: str) -> None:
    while not log.exists() or words not in log.read_text():
        await asyncio.sleep(0.01)


async def test_a_runner_that_is_held_has_ended_cleanly_and_is_not_started_before_it_is_asked_for(
    tmp_path: Path,
) -> None:
    supervisor = Supervisor(script(tmp_path, GENTLE), tmp_path / "logs", FAST)
    running = asyncio.create_task(supervisor.run())
    log = tmp_path / "logs" / "worker.log"
    await written(log, "up 1")
    await supervisor.hold(60.0)
    assert (supervisor.life.phase, "clean end 1" in log.read_text()) == (Phase.HELD, True)
    await supervisor.hold(60.0)  # somebody else, too
    await asyncio.sleep(0.1)  # longer than the rules' longest delay
    assert lives(tmp_path) == 1
    supervisor.start()
    await written(log, "up 2")
    supervisor.stop()
    assert await running == 0


async def test_a_hold_whose_owner_is_gone_ends_by_itself(tmp_path: Path) -> None:
    supervisor = Supervisor(script(tmp_path, GENTLE), tmp_path / "logs", FAST)
    running = asyncio.create_task(supervisor.run())
    log = tmp_path / "logs" / "worker.log"
    await written(log, "up 1")
    await supervisor.hold(0.01)
    await written(log, "up 2")
    supervisor.stop()
    assert await running == 0


async def test_a_stop_while_somebody_waits_for_a_hold_leaves_nobody_waiting(tmp_path: Path) -> None:
    supervisor = Supervisor(script(tmp_path, GENTLE), tmp_path / "logs", FAST)
    running = asyncio.create_task(supervisor.run())
    await written(tmp_path / "logs" / "worker.log", "up 1")
    holding = asyncio.create_task(supervisor.hold(60.0))
    await asyncio.sleep(0)
    supervisor.stop()
    assert await running == 0
    await holding
