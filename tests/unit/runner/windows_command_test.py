"""What a Windows sandbox is started with, as a pure function; runs on every system."""

from dataclasses import replace
from pathlib import Path, PureWindowsPath

import pytest

from gogrid.windows import calls
from gogrid.windows.calls import Calls
from runner.errors import SandboxUnavailableError
from runner.sandbox.base import Mount, SandboxReport, SandboxSpec
from runner.sandbox.interpreter import running_interpreter
from runner.sandbox.windows.command import (
    WindowsHome,
    command_line,
    environment,
    environment_block,
    exit_status,
    job_limits,
    windows_home,
)
from sandbox_profiles import windows

HOME = WindowsHome(r"C:\Program Files\Python\python.exe", r"C:\GoGrid\runner\sandbox\windows\inside.py", (r"C:\site",))
SPEC = SandboxSpec(arguments=("runner.executor",))
FOLDER = PureWindowsPath(r"C:\Temp\own")


def test_command_names_the_isolated_interpreter_and_the_module() -> None:
    assert command_line(HOME, SPEC) == (
        r'"C:\Program Files\Python\python.exe" -I -S -B -X utf8 C:\GoGrid\runner\sandbox\windows\inside.py '
        "runner.executor"
    )


@pytest.mark.parametrize(
    ("argument", "quoted"),
    [('a "b"', r'"a \"b\""'), ("", '""'), ("ends\\", "ends\\"), ("a b\\", '"a b\\\\"'), ("& calc", '"& calc"')],
)
def test_argument_cannot_become_two(argument: str, quoted: str) -> None:
    assert command_line(HOME, replace(SPEC, arguments=("m", argument))).endswith(f" m {quoted}")


@pytest.mark.parametrize("argument", ["x" * 32_767, "zero\0byte"])
def test_command_that_windows_cannot_take_is_refused(argument: str) -> None:
    with pytest.raises(SandboxUnavailableError, match="32766"):
        command_line(HOME, replace(SPEC, arguments=("m", argument)))


def test_environment_has_only_the_listed_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOGRID_SECRET", "x")
    for spec in (SPEC, replace(SPEC, gpus=("GPU-1", "GPU-2"))):
        variables = environment(HOME, spec, FOLDER, r"C:\Windows")
        assert {name.upper() for name in variables} <= windows.ENVIRONMENT_NAMES
    assert variables["CUDA_VISIBLE_DEVICES"] == "GPU-1,GPU-2"


def test_environment_points_to_the_own_folder_and_hides_gpus() -> None:
    variables = environment(HOME, replace(SPEC, threads=3), FOLDER, r"C:\Windows")
    assert {variables[name] for name in windows.HOME_VARIABLES} == {r"C:\Temp\own"}
    assert (variables["SystemDrive"], variables["PATH"]) == ("C:", r"C:\Windows\System32;C:\Windows")
    assert variables["CUDA_VISIBLE_DEVICES"] == "-1"
    assert variables["OMP_NUM_THREADS"] == "3"


def test_environment_block_is_sorted_without_regard_to_case_and_ends_twice() -> None:
    assert environment_block({"b": "2", "A": "1", "C": ""}) == "A=1\0b=2\0C=\0\0"


def test_limits_that_a_job_does_not_have_are_not_set() -> None:
    limits = job_limits(SPEC, processors=4)
    assert limits.flags == windows.JOB_LIMITS
    assert (limits.memory_bytes, limits.time_ticks) == (0, 0)
    assert limits.ui_flags == windows.UI_LIMITS


def test_limits_of_a_job_are_all_set() -> None:
    spec = replace(SPEC, memory_bytes=4 << 30, cpu_seconds=60, processes=10)
    limits = job_limits(spec, processors=4)
    wanted = windows.JobLimit.PROCESS_MEMORY | windows.JobLimit.JOB_MEMORY | windows.JobLimit.JOB_TIME
    assert limits.flags == windows.JOB_LIMITS | wanted
    assert (limits.processes, limits.memory_bytes, limits.time_ticks) == (10, 4 << 30, 600_000_000)


@pytest.mark.parametrize(
    ("threads", "cores", "processors", "rate"),
    [(1, None, 4, 2500), (4, None, 4, 10_000), (8, None, 4, 10_000), (1, None, 128, 79), (4, 0.5, 4, 1250)],
)
def test_processor_rate_is_the_share_of_the_machine(
    threads: int, cores: float | None, processors: int, rate: int
) -> None:
    limits = job_limits(replace(SPEC, threads=threads, cpu_cores=cores), processors)
    assert (limits.cpu_flags, limits.cpu_rate) == (5, rate)


@pytest.mark.parametrize(("asked", "given"), [(256, 64), (0, 1), (64, 64)])
def test_number_of_processes_has_a_ceiling_and_a_floor(asked: int, given: int) -> None:
    assert job_limits(replace(SPEC, processes=asked), 4).processes == given


@pytest.mark.parametrize(
    ("code", "status"),
    [
        *((0, 0), (3, 3), (259, 259), (windows.KILLED, -9)),
        *((0xC0000005, -11), (0xC0000409, -6), (0xC0000135, -6), (0xFFFFFFFF, 0xFFFFFFFF), (1816, -24)),
    ],
)
def test_exit_codes_have_the_status_of_the_same_meaning(code: int, status: int) -> None:
    assert exit_status(code) == status


def test_home_is_the_running_interpreter_where_it_lies() -> None:
    running = running_interpreter()
    home = windows_home(running)
    assert home.executable == str(running.executable)
    assert Path(home.bootstrap).is_file()
    assert all(Path(folder).name in ("site-packages", "dist-packages") for folder in home.import_path)


def test_mount_is_seen_where_it_lies() -> None:
    mount = Mount(Path("/somewhere/model"), "/models/current")
    report = SandboxReport(name="", layers=(), missing=(), python_jobs=False)
    assert mount.seen(report) == "/models/current"
    assert mount.seen(replace(report, remaps=False)) == "/somewhere/model"


def test_elsewhere_every_call_refuses_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    calls._library.cache_clear()
    with pytest.raises(calls.NotWindowsError, match="another system"):
        Calls({"CloseHandle": ("kernel32", calls.BOOL, (calls.HANDLE,))}).function("CloseHandle")
