"""What is read from the kernel's counts: its own number or nothing, never a fault and never a proof from rubbish."""

import pytest

from runner.sandbox.linux.group_counts import count

VERSION_1 = "nr_periods 6\nnr_throttled 4\nthrottled_time 318034520\nnr_bursts 0\nburst_time 0\n"
VERSION_2 = """usage_usec 61403
user_usec 52112
system_usec 9291
core_sched.force_idle_usec 0
nr_periods 6
nr_throttled 4
throttled_usec 318034
nr_bursts 0
burst_usec 0
"""
VERSION_2_WITHOUT_QUOTA = "usage_usec 61403\nuser_usec 52112\nsystem_usec 9291\n"
NEVER_HELD_BACK = "nr_periods 6\nnr_throttled 0\nthrottled_time 0\n"


@pytest.mark.parametrize("text", [VERSION_1, VERSION_2], ids=["version 1", "version 2"])
def test_count_is_read_as_each_version_writes_it(text: str) -> None:
    assert count(text, "nr_throttled") == 4


@pytest.mark.parametrize(
    "text",
    [
        "",
        VERSION_2_WITHOUT_QUOTA,
        NEVER_HELD_BACK,
        "nr_throttled\n",
        "nr_throttled many\n",
        "nr_throttled -1\n",
        "nr_throttled 1.5\n",
        "nr_throttled \u0663\n",
        "nr_throttled 4 5\n",
        "nr_throttled " + "9" * 5000,
        "nr_throttled_later 4\n",
        "\0\ufffd 7\n\n 4 nr_throttled\n",
    ],
    ids=[
        *("missing file", "no quota", "never", "no number", "a word", "negative", "a fraction", "no digit of ours"),
        *("two numbers", "a number without end", "another name", "rubbish"),
    ],
)
def test_what_is_no_count_proves_nothing(text: str) -> None:
    assert count(text, "nr_throttled") == 0


def test_kills_for_memory_are_read_as_each_version_writes_them() -> None:
    assert count("low 0\nhigh 0\nmax 31\noom 1\noom_kill 2\noom_group_kill 1\n", "oom_kill") == 2
    assert count("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", "oom_kill") == 1
