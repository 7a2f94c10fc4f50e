"""What a Python job may be, what may come out of its sandbox, and how its end is told."""

import signal
from pathlib import Path

import pytest

from gogrid.errors import ProtocolError
from gogrid.ids import Sha256
from gogrid.protocol.job_messages import FailCode, PythonEnd
from gogrid.protocol.tasks import InputFile, PythonLimits, PythonTask
from runner.errors import JobError
from runner.python_job.intake import Intake, TooMuchOutputError
from runner.python_job.pipe import Ended, FileBegins, Output
from runner.python_job.run import MAX_ARGUMENT_BYTES, sandbox_spec
from runner.python_job.verdict import Evidence, Stop, broken, judge, stopped

LIMITS = PythonLimits(memory_bytes=1 << 30, wall_s=60, output_bytes=100, output_files=2, log_bytes=10)


def ended(exit_code: int = 0, killed_by: int = 0, peak: int = 0, cpu_ms: int = 0, *, large: bool = False) -> Ended:
    return Ended(exit_code, killed_by, peak, cpu_ms, 0, large)


def begun() -> Intake:
    intake = Intake(LIMITS)
    intake.begin()
    return intake


class TestTask:
    def test_becomes_a_sandbox_with_its_limits(self) -> None:
        limits = PythonLimits(
            memory_bytes=5, cpu_cores=2.5, wall_s=10, output_bytes=3 << 20, output_files=7, log_bytes=9
        )
        task = PythonTask(files=files("main.py", "a/b.txt"), entry="main.py", arguments=("x",), limits=limits)
        spec = sandbox_spec(task, {"main.py": Path("/h/1"), "a/b.txt": Path("/h/2")})
        assert spec.arguments == ("runner.python_job.inside", "main.py", "9", str(3 << 20), "7", "x")
        assert [mount.inside for mount in spec.mounts] == ["/job/in/main.py", "/job/in/a/b.txt"]
        assert (spec.memory_bytes, spec.cpu_seconds, spec.out_bytes, spec.threads) == (5, 25, 3 << 20, 3)

    @pytest.mark.parametrize(
        ("task", "param"),
        [
            (PythonTask(files=(), entry="main.py"), "entry"),
            (PythonTask(files=(InputFile(name="/etc/x", sha256=Sha256(""), size=0),), entry="main.py"), "files"),
            (PythonTask(files=(InputFile(name="../x", sha256=Sha256(""), size=0),), entry="../x"), "files"),
            (PythonTask(files=(InputFile(name="a\0", sha256=Sha256(""), size=0),), entry="a\0"), "files"),
        ],
    )
    def test_that_cannot_be_carried_out_names_its_parameter(self, task: PythonTask, param: str) -> None:
        with pytest.raises(JobError) as refusal:
            sandbox_spec(task, {file.name: Path("/h") for file in task.files})
        assert (refusal.value.code, refusal.value.param) == (FailCode.BAD_REQUEST, param)

    @pytest.mark.parametrize("names", [("a", "a"), ("main.py", "d", "d/e")])
    def test_with_two_files_of_one_name_is_refused(self, names: tuple[str, ...]) -> None:
        with pytest.raises(JobError, match="one name"):
            sandbox_spec(PythonTask(files=files(*names), entry=names[0]), {})

    @pytest.mark.parametrize("arguments", [("a\0b",), ("x" * (MAX_ARGUMENT_BYTES + 1),)])
    def test_with_impossible_arguments_is_refused(self, arguments: tuple[str, ...]) -> None:
        with pytest.raises(JobError) as refusal:
            sandbox_spec(PythonTask(files=files("m"), entry="m", arguments=arguments), {"m": Path("/h")})
        assert refusal.value.param == "arguments"

    def test_with_a_file_that_did_not_come_is_not_the_submitters_fault(self) -> None:
        with pytest.raises(JobError) as refusal:
            sandbox_spec(PythonTask(files=files("m"), entry="m"), {})
        assert refusal.value.code is FailCode.INTERNAL


class TestIntake:
    def test_log_is_cut_at_its_limit_and_says_so(self) -> None:
        intake = begun()
        first, second, third = (intake.log(Output("stdout", b"123456")) for _ in range(3))
        assert first is not None
        assert second is not None
        assert (first.data, first.seq, second.data, second.seq, third) == (b"123456", 1, b"1234", 2, None)
        assert intake.logs_truncated

    def test_last_errors_are_kept_even_beyond_the_log_limit(self) -> None:
        intake = begun()
        for _ in range(300):
            intake.log(Output("stderr", b"x" * 100))
        intake.log(Output("stderr", b"MemoryError"))
        assert intake.errors.endswith(b"MemoryError")
        assert len(intake.errors) <= 4096

    @pytest.mark.parametrize(
        "name", ["../x", "/x", "a/../b", "", "a//b", "a\\b", "CON", "x\n", "a" * 300, "/".join("a" * 40)]
    )
    def test_file_name_that_no_supervisor_makes_breaks_the_job(self, name: str) -> None:
        intake = begun()
        intake.end(ended())
        with pytest.raises(ProtocolError, match="name"):
            intake.file(FileBegins(name, 1))

    def test_same_name_twice_breaks_the_job(self) -> None:
        intake = begun()
        intake.end(ended())
        intake.file(FileBegins("a", 1))
        with pytest.raises(ProtocolError, match="one name"):
            intake.file(FileBegins("a", 1))

    def test_more_than_the_job_may_leave_is_refused(self) -> None:
        for *fitting, last in ((60, 60), (1, 1, 1), (101,), (1 << 63,)):
            intake = begun()
            intake.end(ended())
            for number, size in enumerate(fitting):
                intake.file(FileBegins(str(number), size))
            with pytest.raises(TooMuchOutputError):
                intake.file(FileBegins("last", last))

    def test_records_out_of_order_break_the_job(self) -> None:
        with pytest.raises(ProtocolError):
            Intake(LIMITS).log(Output("stdout", b"x"))
        with pytest.raises(ProtocolError):
            Intake(LIMITS).end(ended())
        with pytest.raises(ProtocolError):
            begun().begin()
        with pytest.raises(ProtocolError):
            begun().file(FileBegins("a", 1))
        intake = begun()
        intake.end(ended())
        for late in (lambda: intake.end(ended()), lambda: intake.log(Output("stdout", b"x"))):
            with pytest.raises(ProtocolError):
                late()

    @pytest.mark.parametrize("lie", [ended(exit_code=256), ended(killed_by=-1), ended(killed_by=200)])
    def test_impossible_exit_status_breaks_the_job(self, lie: Ended) -> None:
        with pytest.raises(ProtocolError):
            begun().end(lie)


class TestVerdict:
    @pytest.mark.parametrize(
        ("seen", "errors", "wanted", "code"),
        [
            (ended(), b"", "ok", 0),
            (ended(3), b"whatever", "failed", 3),
            (ended(1), b"Traceback\n  x\nMemoryError\n", "memory", 1),
            (ended(1), b"numpy._core._exceptions._ArrayMemoryError: Unable to allocate 6 GiB\n", "memory", 1),
            (ended(1), b"RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory\n", "memory", 1),
            (ended(1), b"MemoryError\nhandled\nand\nthen\nValueError: other\n", "failed", 1),
            (ended(0), b"MemoryError\n", "ok", 0),
            (ended(0, signal.SIGXCPU), b"", "cpu_time", 152),
            (ended(0, signal.SIGKILL, cpu_ms=60_000), b"", "cpu_time", 137),
            (ended(0, signal.SIGKILL, peak=(1 << 30) - 1), b"", "memory", 137),
            (ended(0, signal.SIGKILL), b"", "crashed", 137),
            (ended(0, signal.SIGSEGV), b"", "crashed", 139),
            (ended(0, signal.SIGABRT), b"terminate called", "crashed", 134),
            (ended(0, signal.SIGXFSZ), b"", "output_too_large", 153),
            (ended(0, 35), b"", "crashed", 163),
            (ended(0, large=True), b"", "output_too_large", 0),
            (ended(2, large=True), b"", "output_too_large", 2),
            (ended(0, signal.SIGSEGV, large=True), b"", "crashed", 139),
        ],
    )
    def test_end_of_a_script(self, seen: Ended, errors: bytes, wanted: str, code: int) -> None:
        done = judge(seen, LIMITS, (), Evidence(errors))
        assert (done.ended, done.exit_code) == (wanted, code)
        assert (done.detail == "") == (wanted in ("ok", "failed"))
        assert done.detail == "" or (done.detail.endswith(".") and done.detail.count(". ") == 0)

    def test_files_that_got_another_name_are_named(self) -> None:
        renamed = [("a:b", "a_b"), *((f"{n}?", f"{n}_") for n in range(6))]
        done = judge(ended(0), LIMITS, (), Evidence(renamed=renamed))
        assert done.detail == (
            "Names that not every system can store were changed: 'a:b' is 'a_b', '0?' is '0_', '1?' is '1_', "
            "'2?' is '2_', '3?' is '3_' and 2 more."
        )

    @pytest.mark.parametrize(("why", "word"), [(PythonEnd.TIMEOUT, "60 s"), (PythonEnd.CANCELLED, "cancelled")])
    def test_end_by_the_runner(self, why: Stop, word: str) -> None:
        done = stopped(why, LIMITS, logs_truncated=True)
        assert (done.ended, done.exit_code, done.logs_truncated) == (why, 137, True)
        assert word in done.detail

    @pytest.mark.parametrize(("status", "code"), [(-9, 137), (-11, 139), (0, 1), (5, 5)])
    def test_end_of_the_sandbox_itself(self, status: int, code: int) -> None:
        done = broken("It broke.", status, "", logs_truncated=False)
        assert (done.ended, done.exit_code, done.detail) == ("crashed", code, "It broke.")

    def test_a_crash_names_its_signal_and_nothing_else_does(self) -> None:
        names = {number: judge(ended(0, number), LIMITS, (), Evidence()).signal for number in (11, 6, 31, 35, 24)}
        assert names == {11: "SIGSEGV", 6: "SIGABRT", 31: "SIGSYS", 35: "signal 35", 24: ""}
        assert judge(ended(3), LIMITS, (), Evidence()).signal == ""

    @pytest.mark.parametrize(
        ("seen", "wanted"),
        [(ended(0, signal.SIGKILL), "memory"), (ended(1), "memory"), (ended(0), "ok"), (ended(0, 11), "crashed")],
    )
    def test_a_kill_for_memory_from_outside_is_believed_where_it_explains_the_end(
        self, seen: Ended, wanted: str
    ) -> None:
        done = judge(seen, LIMITS, (), Evidence(over_memory="The group was full."))
        assert done.ended == wanted
        assert (done.detail == "The group was full.") == (wanted == "memory")

    def test_a_sandbox_that_was_killed_for_its_memory_ended_by_memory(self) -> None:
        done = broken("It broke.", -9, "The watchdog killed it.", logs_truncated=False)
        assert (done.ended, done.exit_code, done.detail) == ("memory", 137, "The watchdog killed it.")

    def test_a_missing_module_is_answered_with_those_that_are_there(self) -> None:
        errors = b"  File \"main.py\", line 1\nModuleNotFoundError: No module named 'requests'\n"
        done = judge(ended(1), LIMITS, (), Evidence(errors, packages=("numpy 2.4.6", "pandas 3.1.1")))
        assert done.ended == "failed"
        assert done.detail.startswith("Its worker has no module 'requests', but numpy 2.4.6, pandas 3.1.1; ")
        assert "no module" not in judge(ended(0), LIMITS, (), Evidence(errors)).detail
        assert "only Python's own modules" in judge(ended(1), LIMITS, (), Evidence(errors)).detail
        forged = b"ModuleNotFoundError: No module named '\x1b]0;x\x07'\n"
        assert judge(ended(1), LIMITS, (), Evidence(forged)).detail == ""


def files(*names: str) -> tuple[InputFile, ...]:
    return tuple(InputFile(name=name, sha256=Sha256(""), size=0) for name in names)
