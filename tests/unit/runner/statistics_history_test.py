"""The core of the statistics in virtual time: what is asked is what was counted, whatever the clock does."""

from runner.statistics.history import MINUTE_S, SERIES, History, Step
from runner.statistics.meter import Meter

NOON = 1_790_000_000 // 86_400 * 86_400 + 12 * 3600.0


def test_an_hour_a_day_and_a_week_have_every_step_and_the_empty_ones_too() -> None:
    history = History()
    history.add(NOON, Step(jobs_done=2, tokens=50))
    for span, count in (("hour", 60), ("day", 96), ("week", 168)):
        shown = history.statistics(span, NOON, Step())  # type: ignore[arg-type]
        assert len(shown.samples) == count
        assert [sample.at for sample in shown.samples] == [NOON - shown.step_s * (count - 1 - n) for n in range(count)]
        assert (shown.jobs_done, shown.tokens) == (2, 50)
        assert shown.samples[-1].tokens == 50
        assert shown.samples[0].gpu is None
        assert shown.samples[0].tokens == 0


def test_what_has_not_been_written_yet_is_shown() -> None:
    history = History()
    history.add(NOON, Step(jobs_done=1))
    shown = history.statistics("hour", NOON + 20, Step(jobs_done=1, tokens=7, memory=5))
    assert (shown.jobs_done, shown.tokens) == (2, 7)
    assert (shown.samples[-1].tokens, shown.samples[-1].memory) == (7, 5)
    assert shown.samples[-2].jobs_done == 1


def test_shares_are_of_the_whole_step_and_the_gpus_of_the_time_it_was_looked_at() -> None:
    history = History()
    for minute in range(1, 4):  # three of fifteen minutes busy; the GPU seen in two of them
        seen = 60.0 if minute > 1 else 0.0
        history.add(NOON + minute * MINUTE_S, Step(cpu_s=30.0, gpu_s=0.9 * seen, gpu_seen_s=seen, memory=minute))
    sample = history.statistics("day", NOON + 15 * MINUTE_S, Step()).samples[-1]
    assert (sample.cpu, sample.gpu, sample.memory) == (0.1, 0.9, 3)


def test_a_clock_set_back_loses_nothing_and_a_clock_set_far_off_leaves_no_heap() -> None:
    history = History()
    history.add(NOON + 1800, Step(jobs_done=1))
    history.add(NOON, Step(jobs_done=1))  # half an hour back
    assert history.statistics("hour", NOON + 1800, Step()).jobs_done == 2
    for year in range(50):
        history.add(NOON + year * 31_536_000, Step(jobs_done=1))
    assert len(history.rows()) <= 2 * sum(series.count for series in SERIES.values())
    assert history.statistics("week", NOON + 49 * 31_536_000, Step()).jobs_done == 1


def test_a_week_of_minutes_keeps_only_what_is_shown() -> None:
    history = History()
    for minute in range(8 * 1440):
        history.add(NOON + minute * MINUTE_S, Step(tokens=1))
    assert len(history.rows()) <= sum(series.count + 1 for series in SERIES.values())


def test_a_rate_is_of_the_last_ten_seconds() -> None:
    meter = Meter()
    for second in range(100, 105):
        meter.tokens(40, second + 0.5)
    assert meter.rate(105.0) == 20.0
    assert meter.rate(112.0) == 12.0
    assert meter.rate(130.0) == 0.0


def test_the_meter_hands_out_everything_once() -> None:
    meter = Meter()
    meter.tokens(5, 1.0)
    meter.measured(jobs_done=2, jobs_failed=1, cpu_s=3.0, memory=9, gpu=None, seconds=10)
    assert meter.so_far(3, 1, 4) == Step(jobs_done=3, jobs_failed=1, tokens=5, cpu_s=3.0, memory=9)
    assert meter.take() == Step(jobs_done=2, jobs_failed=1, tokens=5, cpu_s=3.0, memory=9)
    assert meter.take() == Step()
    meter.measured(jobs_done=3, jobs_failed=1, cpu_s=0.0, memory=0, gpu=0.5, seconds=10)
    assert meter.take() == Step(jobs_done=1, gpu_s=5.0, gpu_seen_s=10)
