"""`gogrid run`, `jobs`, `logs`, `cancel` against the real app: a script far away behaves as if it ran here."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from coordinator.records import Attempt, JobOutcome, JobState, LeaseEnd
from gogrid.client.cli import main
from gogrid.ids import JobId, WorkerId
from gogrid.protocol.job_messages import OutputFile, PythonDone
from gogrid.protocol.tasks import PythonTask
from tests.fakes.backend import OTHER, WORKER
from tests.fakes.https_grid import HttpsGrid, ScriptedJobs, at_work, ends, https_grid
from tests.fakes.terminal import Terminal


@pytest.fixture
def grid(tmp_path: Path) -> Iterator[HttpsGrid]:
    with https_grid(tmp_path / "grid") as grid:
        yield grid


@pytest.fixture
def environment(tmp_path: Path, grid: HttpsGrid, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    environment = at_work(grid, tmp_path, monkeypatch)
    Path("script.py").write_text("print('hello')\n")
    return environment


def worker(grid: HttpsGrid, done: PythonDone, *lines: tuple[str, bytes]) -> None:
    async def act(jobs: ScriptedJobs, job_id: JobId, task: PythonTask) -> PythonDone:
        for stream, data in lines:
            await jobs.write(job_id, stream, data)
        return done

    grid.jobs.act = act


def sent(grid: HttpsGrid) -> PythonTask:
    return grid.jobs.submitted_tasks[-1]


def gogrid(argv: Sequence[str], environment: dict[str, str]) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [sys.executable, "-m", "gogrid.client.cli", *argv],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
        timeout=30,
        check=False,
    )


def test_output_goes_to_the_right_streams_byte_by_byte_and_the_exit_code_is_the_scripts(
    grid: HttpsGrid, environment: dict[str, str]
) -> None:
    worker(grid, ends(3), ("stdout", b"out\xff\x00\x1b[31m\r\n"), ("stderr", b"err\xc3"), ("stderr", b"\xa9\n"))
    process = gogrid(["run", "script.py"], environment)
    assert (process.returncode, process.stdout, process.stderr) == (3, b"out\xff\x00\x1b[31m\r\n", "erré\n".encode())


def test_files_limits_and_arguments_reach_the_job(grid: HttpsGrid, environment: dict[str, str]) -> None:
    Path("data").mkdir()
    Path("data/größe 1.csv").write_bytes(b"1,2\n")
    outside = Path.cwd().parent / "outside.bin"
    outside.write_bytes(bytes(range(256)) * 40)
    worker(grid, ends())
    argv = [
        "run",
        "script.py",
        "--input",
        "data/größe 1.csv",
        "--input",
        str(outside),
        "--memory",
        "2GiB",
        "--cpus",
        "1.5",
    ]
    assert main([*argv, "--timeout", "15m", "--", "--flag", "--", "x y"], environment) == 0
    task = sent(grid)
    assert {file.name: grid.kept(file.sha256) for file in task.files} == {
        "script.py": b"print('hello')\n",
        "data/größe 1.csv": b"1,2\n",
        "outside.bin": bytes(range(256)) * 40,
    }
    assert (task.entry, task.arguments) == ("script.py", ("--flag", "--", "x y"))
    assert (task.limits.memory_bytes, task.limits.cpu_cores, task.limits.wall_s) == (2 << 30, 1.5, 900.0)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["absent.py"], "absent.py cannot be read"),
        (["script.py", "--input", "script.py"], "rename one of them"),
        (["script.py", "--input", "big"], "more than the 8.4 MB"),
        (["script.py", "--memory", "lots"], "'lots' is not usable: it must be a size such as 512MB"),
        (["script.py", "--memory", "0"], "it must be a size"),
        (["script.py", "--timeout", "-1"], "--timeout"),
        (["script.py", "--cpus", "nan"], "a number from 0.01 to 1024"),
        (
            ["script.py", "--epochs", "3"],
            "arguments: --epochs 3; options of your own program go behind --",
        ),
        (["script.py", "--max-output", "2GiB"], "from 1B to 1GiB"),
        (["script.py", "--max-files", "-1"], "a whole number from 0 to 4000"),
        (["script.py", "--entry", "other.py"], "--entry is for folders, and script.py is none"),
        (["-c", "1", "--entry", "other.py"], "-c has none"),
        (["empty"], "empty has no main.py or __main__.py: name the file to run with --entry"),
        (["empty", "--entry", "x.py"], "empty has no such file"),
        (["script.py", "--input", "fifo"], "fifo is not a plain file"),
        (["script.py", "--input", "many"], "more than the 1000 files"),
        ([], "Name a SCRIPT or a FOLDER"),
        (["script.py", "--output", "big"], "--output big is a file"),
        (["script.py", "--output", "new", "--detach"], "--output has no use with --detach"),
    ],
)
def test_wrong_usage_is_one_line_and_nothing_is_sent(
    grid: HttpsGrid, environment: dict[str, str], argv: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("big").write_bytes(b"\0" * ((8 << 20) + 1))
    Path("empty").mkdir()
    os.mkfifo("fifo")
    Path("many").mkdir()
    for number in range(1001):
        Path("many", str(number)).touch()
    try:
        code = main(["run", *argv], environment)
    except SystemExit as ended:
        code = int(str(ended.code))
    assert code == 2
    message = capsys.readouterr().err
    assert words in message
    assert message.count("\n") == 1
    assert grid.seen == []


@pytest.mark.parametrize(
    ("done", "code", "sentence"),
    [
        (ends(137, ended="timeout", detail="It ran for more than 60 s."), 137, "It ran for more than 60 s."),
        (ends(137, ended="memory"), 137, "more memory than its limit"),
        (ends(0, ended="output_too_large"), 125, "more output files than its limit"),
        (ends(0, logs_truncated=True), 0, "the rest is lost"),
    ],
)
def test_what_stopped_a_script_is_said_and_never_looks_like_success(
    grid: HttpsGrid,
    environment: dict[str, str],
    done: PythonDone,
    code: int,
    sentence: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    worker(grid, done)
    assert main(["run", "script.py"], environment) == code
    message = capsys.readouterr().err
    assert sentence in message
    assert message.count("\n") == 1


def test_a_job_that_gogrid_gave_up_ends_with_125(
    grid: HttpsGrid, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    async def act(jobs: ScriptedJobs, job_id: JobId, task: PythonTask) -> None:
        outcome = JobOutcome(JobState.DEAD, error_code="worker_lost", error="It failed on 5 leases.")
        jobs.records[job_id] = replace(jobs.records[job_id], state=JobState.DEAD, outcome=outcome)

    grid.jobs.act = act
    assert main(["run", "script.py"], environment) == 125
    assert "was given up: It failed on 5 leases." in capsys.readouterr().err


def test_output_files_are_fetched_and_older_ones_replaced(grid: HttpsGrid, environment: dict[str, str]) -> None:
    content = os.urandom(300_000)
    worker(grid, ends(0, [grid.keep(content, "plots/größe.png"), grid.keep(b"new", "result.txt"), grid.keep(b"", "e")]))
    Path("out").mkdir()
    Path("out/result.txt").write_text("old and longer")
    assert main(["run", "script.py", "--output", "out"], environment) == 0
    found = {str(path.relative_to("out")): path.read_bytes() for path in Path("out").rglob("*") if path.is_file()}
    assert found == {os.path.join("plots", "größe.png"): content, "result.txt": b"new", "e": b""}


def test_the_files_that_came_back_are_named(
    grid: HttpsGrid, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    changed = "Names that not every system can store were changed: 'a:b' is 'a_b'."
    worker(grid, ends(0, [grid.keep(b"1", name) for name in ("a_b", "plots/x.png")], detail=changed))
    assert main(["run", "script.py", "--output", "out"], environment) == 0
    said = capsys.readouterr().err
    assert f"The script ended. {changed}" in said
    assert "2 output files in out: a_b, plots/x.png\n" in said
    worker(grid, ends(0, [grid.keep(b"1", f"f{number:02}") for number in range(14)]))
    assert main(["run", "script.py", "--output", "out"], environment) == 0
    assert (
        "14 output files in out: f00, f01, f02, f03, f04, f05, f06, f07, f08, f09 and 4 more\n"
        in capsys.readouterr().err
    )


def test_a_job_can_be_made_urgent_and_only_within_bounds(
    grid: HttpsGrid, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "script.py", "--detach", "--priority", "-7"], environment) == 0
    [record] = grid.jobs.records.values()
    assert record.priority == -7
    with pytest.raises(SystemExit):
        main(["run", "script.py", "--priority", "101"], environment)
    assert "a whole number from -100 to 100" in capsys.readouterr().err


def test_one_job_is_told_with_every_try(
    grid: HttpsGrid, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "script.py", "--detach"], environment) == 0
    job_id = JobId(capsys.readouterr().out.strip())
    grid.jobs.ended_attempts[job_id] = [
        Attempt(job_id, 1, WORKER, 5.0, 7.0, LeaseEnd.CRASHED, "its sandbox\x1b[31m died"),
        Attempt(job_id, 2, WorkerId("wk_gone"), None, 9.0, LeaseEnd.VANISHED, "its lease ran out"),
    ]
    grid.jobs.records[job_id] = replace(grid.jobs.records[job_id], crashes=2, attempts=2, not_before=4e9)
    assert main(["jobs", "show", job_id[:12]], environment) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:5] == [
        f"job        {job_id}",
        "what       script.py (python)",
        "state      queued, 0 before it",
        "priority   0",
        "waits for  no worker is connected",
    ]
    assert lines[6].startswith("attempts   2, 2 crashed; not tried again before ")
    assert lines[8:] == [
        "TRY  WORKER   TOOK  ENDED     WHY",
        "1    one      2 s   crashed   its sandbox\\x1b[31m died",
        "2    wk_gone  -     vanished  its lease ran out",
    ]


def test_jobs_are_filtered_by_state_and_tried_again(
    grid: HttpsGrid, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert main(["run", "script.py", "--detach"], environment) == 0
    first, second = (JobId(line) for line in capsys.readouterr().out.split())
    outcome = JobOutcome(JobState.DEAD, error_code="worker_lost", error="It crashed 3 times.")
    grid.jobs.records[first] = replace(grid.jobs.records[first], state=JobState.DEAD, outcome=outcome, worker=WORKER)
    assert main(["jobs", "--state", "dead", "--json"], environment) == 0
    [dead] = json.loads(capsys.readouterr().out)
    assert (dead["id"], dead["worker_name"], dead["worker"]) == (first, "one", WORKER)
    assert main(["jobs", "list", "--state", "done", "--state", "failed"], environment) == 0
    assert capsys.readouterr().err == "There are no done or failed jobs.\n"
    assert main(["jobs", "requeue", first], environment) == 0
    assert capsys.readouterr().out == f"{first} waits again.\n"
    assert main(["jobs", "requeue", second], environment) == 1
    assert "Only a dead or failed job" in capsys.readouterr().err
    assert main(["jobs", "result", second], environment) == 1
    assert "is a script" in capsys.readouterr().err


def test_without_output_option_each_job_has_a_folder_of_its_own(grid: HttpsGrid, environment: dict[str, str]) -> None:
    worker(grid, ends(0, [grid.keep(b"1", "a")]))
    assert main(["run", "script.py"], environment) == 0
    [job_id] = grid.jobs.records
    assert Path(job_id, "a").read_bytes() == b"1"


@pytest.mark.skipif(os.name != "posix", reason="making links needs rights on Windows")
@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "link/evil", "c:evil", "nul", "a\x1b[2Jb"])
def test_output_files_cannot_leave_their_folder(
    grid: HttpsGrid, environment: dict[str, str], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    worker(grid, ends(0, [grid.keep(b"evil", name)]))
    Path("out").mkdir()
    Path("elsewhere").mkdir()
    Path("out/link").symlink_to(Path("elsewhere").absolute())
    assert main(["run", "script.py", "--output", "out"], environment) == 125
    message = capsys.readouterr().err
    assert "was not stored" in message
    assert "\x1b" not in message
    assert {path.name for path in Path().rglob("*")} == {"out", "link", "elsewhere", "script.py"}


def test_an_output_file_that_is_not_what_was_announced_is_not_stored(
    grid: HttpsGrid, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    kept = grid.keep(b"right", "a")
    worker(grid, ends(0, [OutputFile(name="a", sha256=kept.sha256, size=4)]))
    assert main(["run", "script.py", "--output", "out"], environment) == 125
    assert "did not arrive as announced" in capsys.readouterr().err
    assert list(Path("out").iterdir()) == []


def test_a_lost_submission_answer_does_not_run_the_job_twice(grid: HttpsGrid, environment: dict[str, str]) -> None:
    worker(grid, ends(4))
    posts = 0

    def cut(method: str, path: str) -> int | None:
        nonlocal posts
        posts += method == "POST"
        return 0 if method == "POST" and posts == 1 else None

    grid.cut = cut
    assert main(["run", "script.py"], environment) == 4
    assert posts == 2
    assert len(grid.jobs.submitted_tasks) == 1


def test_a_log_stream_that_breaks_is_taken_up_where_it_broke(
    grid: HttpsGrid, environment: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    worker(grid, ends(0), *[("stdout", b"line %d\n" % number) for number in range(6)])
    reads = 0

    def cut(method: str, path: str) -> int | None:
        nonlocal reads
        reads += path.endswith("/logs")
        return 2 if path.endswith("/logs") and reads <= 2 else None

    grid.cut = cut
    assert main(["run", "script.py"], environment) == 0
    assert reads == 3
    assert capfd.readouterr().out == "".join(f"line {number}\n" for number in range(6))


def test_detached_jobs_are_listed_followed_and_cancelled(
    grid: HttpsGrid, environment: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "script.py", "--detach"], environment) == 0
    job_id = capfd.readouterr().out.strip()
    assert main(["jobs"], environment) == 0
    listed = capfd.readouterr().out.splitlines()
    assert listed[0].split() == ["JOB", "KIND", "WHAT", "STATE", "SUBMITTED", "TOOK", "WORKER"]
    assert listed[1].startswith(f"{job_id}  python  script.py  queued, 0 before it")
    grid.call(grid.jobs.write(JobId(job_id), "stdout", b"so far\n"))
    assert main(["logs", job_id], environment) == 0
    assert capfd.readouterr().out == "so far\n"
    assert main(["cancel", job_id], environment) == 0
    assert capfd.readouterr().out == f"{job_id} is cancelled.\n"
    assert main(["logs", "-f", job_id], environment) == 0
    assert capfd.readouterr() == ("so far\n", f"gogrid: The job {job_id} was cancelled.\n")
    assert main(["cancel", "job_none"], environment) == 1
    assert main(["logs", "../../metrics"], environment) == 1
    assert capfd.readouterr().err.count("\n") == 2


def test_somebody_elses_job_is_not_there(
    grid: HttpsGrid, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "script.py", "--detach"], environment) == 0
    job_id = capsys.readouterr().out.strip()
    other = environment | {"GOGRID_API_KEY": OTHER}
    for command in (["logs", job_id], ["cancel", job_id]):
        assert main(command, other) == 1
        assert "There is no job" in capsys.readouterr().err


def test_json_output_is_one_value_a_line_and_nothing_else(grid: HttpsGrid, environment: dict[str, str]) -> None:
    worker(grid, ends(2, [grid.keep(b"1", "a")]), ("stdout", "é".encode()[:1]), ("stdout", "é".encode()[1:]))
    process = gogrid(["run", "script.py", "--json"], environment)
    lines = [json.loads(line) for line in process.stdout.splitlines()]
    assert process.returncode == 2
    assert lines[0] == {"stream": "stdout", "text": "é"}
    assert lines[-1]["exit_code"] == 2
    assert lines[-1]["job"]["result"]["files"][0]["name"] == "a"
    for command in ("jobs", "workers", "models"):
        assert isinstance(json.loads(gogrid([command, "--json"], environment).stdout), list)


def test_workers_and_models_are_aligned_tables(
    grid: HttpsGrid, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["workers"], environment) == 0
    assert capsys.readouterr().out == (
        "WORKER  STATE    JOBS  DEVICE  MODELS  WHY\none     offline  0     -       echo    has not reported yet\n"
    )
    assert main(["models"], environment) == 0
    assert capsys.readouterr().out == (
        "MODEL       KIND       SIZE  NEEDS  CONTEXT     LOADED ON\n"
        "echo        chat       10 B  100 B  512 tokens  one\n"
        "org/chat-b  chat       10 B  100 B  512 tokens  -\n"
        "tiny-embed  embedding  10 B  100 B  512 tokens  -\n"
    )


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_ended_cancels_its_job_on_the_grid(
    grid: HttpsGrid, environment: dict[str, str], number: signal.Signals
) -> None:
    async def act(jobs: ScriptedJobs, job_id: JobId, task: PythonTask) -> None:
        await jobs.write(job_id, "stdout", b"begun\n")

    grid.jobs.act = act
    process = subprocess.Popen(
        [sys.executable, "-m", "gogrid.client.cli", "run", "script.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"begun\n"
    process.send_signal(number)
    _, said = process.communicate(timeout=10)
    assert process.returncode == 130
    assert b"Traceback" not in said
    [record] = grid.jobs.records.values()
    assert record.state is JobState.CANCELLED


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_a_terminal_gets_no_escape_sequences_from_a_script_unless_asked(
    grid: HttpsGrid, environment: dict[str, str]
) -> None:
    worker(grid, ends(0), ("stdout", b"50 %\r\x1b[31mred\n"))
    environment = environment | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with Terminal(["run", "script.py"], environment) as terminal:
        assert terminal.wait() == 0
        assert terminal.shown == b"50 %\r\\x1b[31mred\r\n"
    with Terminal(["run", "script.py", "--raw"], environment) as terminal:
        assert terminal.wait() == 0
        assert terminal.shown == b"50 %\r\x1b[31mred\r\n"


def test_no_coordinator_at_all_is_said_within_seconds(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    begun = time.monotonic()
    gone = environment | {"GOGRID_URL": "https://127.0.0.1:9"}
    assert main(["jobs"], gone) == 2
    assert main(["run", "script.py"], gone | {"GOGRID_URL": "http://127.0.0.1:9", "GOGRID_API_KEY": "x"}) == 125
    assert capsys.readouterr().err.count("cannot be reached") == 2
    assert time.monotonic() - begun < 15
