"""The statistics on disk: they outlive a killed process, stay small, and never keep a worker from starting."""

import asyncio
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runner.probes.nvidia_share import share
from runner.statistics import recorder as recorder_module
from runner.statistics.file import HistoryFile
from runner.statistics.history import MINUTE_S, SERIES, History, Step
from runner.statistics.recorder import Counters, Recorder, next_look

NOON = 1_790_000_000 // 3600 * 3600.0
KEEP = max(series.count for series in SERIES.values())
WRITER = """
import sys, time
from pathlib import Path
from runner.statistics.file import HistoryFile
from runner.statistics.history import History, Step
file, history = HistoryFile(Path(sys.argv[1])), History()
file.load()
for minute in range(30):
    file.save(history.add(float(sys.argv[2]) + 60 * minute, Step(tokens=1)), 168)
    print(minute, flush=True)
    time.sleep(0.01)
time.sleep(60)
"""


def test_a_killed_process_loses_no_minute_that_was_written(tmp_path: Path) -> None:
    path = tmp_path / "statistics.sqlite3"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(NOON)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = [int(process.stdout.readline()) for _ in range(7)]
        process.send_signal(signal.SIGKILL)
        said += [int(line) for line in process.stdout.read().split()]
    file = HistoryFile(path)
    kept = History(file.load()).statistics("hour", NOON + 1800, Step()).tokens
    file.close()
    assert kept in (len(said), len(said) + 1)


def test_two_weeks_of_busy_minutes_stay_below_a_megabyte_and_only_the_owner_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "state" / "statistics.sqlite3"
    file, history = HistoryFile(path), History()
    file.load()
    for minute in range(14 * 1440):
        rows = history.add(NOON + minute * MINUTE_S, Step(7, 1, 9**9, 1.5, 2.5, 60.0, 2**36))
        if minute % 240 == 0:
            file.save(rows, KEEP)
    file.close()
    assert path.stat().st_size < 1_000_000
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = HistoryFile(path)
    minutes = [row.index for row in again.load() if row.step_s == MINUTE_S]
    again.close()
    assert max(minutes) - min(minutes) <= KEEP


@pytest.mark.parametrize("junk", [b"this is no database" * 100, b"SQLite format 3\0" + bytes(4000)])
def test_a_broken_file_is_put_aside(tmp_path: Path, junk: bytes) -> None:
    path = tmp_path / "statistics.sqlite3"
    path.write_bytes(junk)
    file = HistoryFile(path)
    assert file.load() == ()
    file.save(History().add(NOON, Step(tokens=3)), KEEP)
    file.close()
    assert path.with_name("statistics.sqlite3.broken").read_bytes() == junk
    again = HistoryFile(path)
    assert {row.step.tokens for row in again.load()} == {3}
    again.close()


def test_no_room_for_statistics_is_no_reason_to_stop(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "state").write_text("a file where a folder should be")
    file = HistoryFile(tmp_path / "state" / "statistics.sqlite3")
    assert file.load() == ()
    file.save(History().add(NOON, Step(tokens=3)), KEEP)
    file.close()
    assert "no statistics are kept" in caplog.text


def test_a_file_that_is_closed_before_it_opens_stays_closed(tmp_path: Path) -> None:
    file = HistoryFile(tmp_path / "statistics.sqlite3")
    file.close()  # a worker that ends at once: its load is a thread that has yet to begin
    assert file.load() == ()
    assert file._connection is None


async def test_a_recorder_keeps_what_happened_when_it_ends(tmp_path: Path) -> None:
    counted = Counters(jobs_done=3, jobs_failed=1, memory=1000, gpus=())
    recorder = Recorder(tmp_path / "statistics.sqlite3", lambda: counted)
    task = asyncio.create_task(recorder.run())
    await asyncio.sleep(0.05)
    recorder.tokens(120)
    shown = recorder.statistics("day")
    assert (shown.jobs_done, shown.jobs_failed, shown.tokens, shown.samples[-1].memory) == (3, 1, 120, 1000)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await recorder.close()
    file = HistoryFile(tmp_path / "statistics.sqlite3")
    kept = History(file.load()).statistics("week", time.time(), Step())
    file.close()
    assert (kept.jobs_done, kept.jobs_failed, kept.tokens) == (3, 1, 120)


def test_an_idle_worker_is_looked_at_once_a_minute() -> None:
    assert next_look(60.0, busy=False) == 60.0
    assert next_look(60.0, busy=True) == 10.0
    assert next_look(3.0, busy=True) == 3.0
    assert next_look(1e9, busy=False) == 60.0
    assert next_look(-5.0, busy=False) > 0


@pytest.mark.parametrize(("memory", "looked"), [(0, ()), (1000, ("GPU-1",))])
async def test_a_gpu_that_holds_nothing_of_ours_may_sleep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: int, looked: tuple[str, ...]
) -> None:
    seen: list[tuple[str, ...]] = []
    monkeypatch.setattr(recorder_module, "nvidia_share", seen.append)
    recorder = Recorder(tmp_path / "statistics.sqlite3", lambda: Counters(0, 0, memory, ("GPU-1",)))
    await recorder.close()
    assert seen == [looked]


class _Rates:
    def __init__(self, gpu: int) -> None:
        self.gpu = gpu


class _Driver:
    """What `nvidia_share` uses of NVML."""

    NVMLError = RuntimeError

    def __init__(self, **percent: int) -> None:
        self.percent, self.open = percent, 0

    def nvmlInit(self) -> None:
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> object:
        if uuid not in self.percent:
            raise RuntimeError("not found")
        return uuid

    def nvmlDeviceGetUtilizationRates(self, handle: object) -> _Rates:
        return _Rates(self.percent[str(handle)])


def test_a_gpus_share_is_the_mean_and_the_driver_rests_afterwards() -> None:
    driver = _Driver(a=80, b=20)
    assert share(driver, ("a", "b")) == 0.5
    assert share(driver, ("a", "gone")) is None
    assert driver.open == 0
