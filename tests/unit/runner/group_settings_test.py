"""What control groups are told, word for word, in both versions."""

from runner.sandbox.linux.group_settings import GroupLimits, Setting, settings

ALL = GroupLimits(processes=256, memory_bytes=1 << 30, cpu_cores=1.5, cpu_weight=50)
LITTLE = GroupLimits(processes=8, memory_bytes=None, cpu_cores=None, cpu_weight=100)


def test_version_2() -> None:
    assert settings(2, "memory", ALL) == (
        Setting("memory.oom.group", "1", needed=False),
        Setting("memory.swap.max", "0", needed=False),
        Setting("memory.max", "1073741824"),
    )
    assert settings(2, "pids", ALL) == (Setting("pids.max", "256"),)
    assert settings(2, "cpu", ALL) == (Setting("cpu.weight", "50"), Setting("cpu.max", "150000 100000"))


def test_version_1_limits_memory_before_memory_with_swap() -> None:
    assert settings(1, "memory", ALL) == (
        Setting("memory.limit_in_bytes", "1073741824"),
        Setting("memory.memsw.limit_in_bytes", "1073741824", needed=False),
        Setting("memory.kmem.tcp.limit_in_bytes", "16777216", needed=False),
    )
    assert settings(1, "pids", ALL) == (Setting("pids.max", "256"),)
    assert settings(1, "cpu", ALL) == (
        Setting("cpu.shares", "512"),
        Setting("cpu.cfs_period_us", "100000"),
        Setting("cpu.cfs_quota_us", "150000"),
    )


def test_version_1_weighs_every_thread_and_version_2_the_group() -> None:
    busy = GroupLimits(processes=1, memory_bytes=None, cpu_cores=None, cpu_weight=100, threads=4)
    assert settings(1, "cpu", busy) == (Setting("cpu.shares", "4096"),)
    assert settings(2, "cpu", busy) == (Setting("cpu.weight", "100"),)


def test_what_is_not_limited_is_not_written() -> None:
    assert settings(1, "memory", LITTLE) == ()
    assert [setting.file for setting in settings(2, "memory", LITTLE)] == ["memory.oom.group", "memory.swap.max"]
    assert settings(2, "cpu", LITTLE) == (Setting("cpu.weight", "100"),)
    assert settings(1, "cpu", LITTLE) == (Setting("cpu.shares", "1024"),)
    assert settings(2, "io", ALL) == ()


def test_quota_is_never_below_what_the_kernel_takes() -> None:
    tiny = GroupLimits(processes=1, memory_bytes=1, cpu_cores=0.0001, cpu_weight=1)
    assert settings(2, "cpu", tiny)[1].value == "1000 100000"
    assert settings(1, "cpu", tiny)[0].value == "10"
