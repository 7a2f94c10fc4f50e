"""What `gogrid run` may be given: a script with arguments, a folder, a line of code; and `gogrid jobs files`."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator.records import JobState
from gogrid.client.cli import main
from gogrid.ids import JobId
from gogrid.protocol.job_messages import PythonDone, PythonEnd
from gogrid.protocol.tasks import PythonLimits, PythonTask
from tests.fakes.https_grid import HttpsGrid, ScriptedJobs, at_work, ends, https_grid


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpsGrid]:
    with https_grid(tmp_path_factory.mktemp("grid")) as grid:
        yield grid


@pytest.fixture
def environment(tmp_path: Path, grid: HttpsGrid, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    ends_with(grid, ends())
    return at_work(grid, tmp_path, monkeypatch)


def ends_with(grid: HttpsGrid, done: PythonDone) -> None:
    async def act(jobs: ScriptedJobs, job_id: JobId, task: PythonTask) -> PythonDone:
        return done

    grid.jobs.act = act


def write(**files: str) -> None:
    for name, text in files.items():
        path = Path(name.replace("__", "/").replace("_py", ".py"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def sent(grid: HttpsGrid) -> PythonTask:
    return grid.jobs.submitted_tasks[-1]


def names(grid: HttpsGrid) -> list[str]:
    return [file.name for file in sent(grid).files]


def test_words_behind_the_script_are_its_own(grid: HttpsGrid, environment: dict[str, str]) -> None:
    write(s_py="1")
    assert (
        main(["run", "--timeout", "5", "s.py", "a", "b c", "--memory", "1GB", "-7", "--", "--memory"], environment) == 0
    )
    assert sent(grid).arguments == ("a", "b c", "-7", "--memory")
    assert (sent(grid).limits.memory_bytes, sent(grid).limits.wall_s) == (10**9, 5.0)


def test_limits_of_the_output_reach_the_job_and_are_the_defaults_otherwise(
    grid: HttpsGrid, environment: dict[str, str]
) -> None:
    write(s_py="1")
    assert main(["run", "s.py", "--max-output", "200MB", "--max-files", "5"], environment) == 0
    assert sent(grid).limits == PythonLimits(output_bytes=200 * 10**6, output_files=5)
    assert main(["run", "s.py"], environment) == 0
    assert sent(grid).limits == PythonLimits()


def test_a_line_of_code_is_a_script(
    grid: HttpsGrid, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    write(data_csv="1,2")
    assert main(["run", "-c", "print(6 * 7)", "x", "--input", "data_csv", "--detach"], environment) == 0
    assert (sent(grid).entry, sent(grid).arguments, names(grid)) == ("main.py", ("x",), ["main.py", "data_csv"])
    assert grid.kept(sent(grid).files[0].sha256) == b"print(6 * 7)\n"
    assert grid.jobs.records[JobId(capsys.readouterr().out.strip())].label == "-c"


def test_a_folder_brings_what_a_program_is_made_of(grid: HttpsGrid, environment: dict[str, str]) -> None:
    write(app__main_py="1", app__lib__tool_py="2", app__other_py="3")
    for left_out in ("app/.git/config", "app/.env", "app/lib/__pycache__/tool.pyc"):
        Path(left_out).parent.mkdir(exist_ok=True)
        Path(left_out).write_text("no")
    Path("app/linked").symlink_to(Path("app/lib").absolute())
    Path("app/alias.py").symlink_to("other.py")
    assert main(["run", "app/"], environment) == 0
    assert (sent(grid).entry, names(grid)) == ("main.py", ["alias.py", "main.py", "other.py", "lib/tool.py"])
    assert main(["run", "app", "--entry", "lib/tool.py", "arg"], environment) == 0
    assert (sent(grid).entry, sent(grid).arguments) == ("lib/tool.py", ("arg",))
    Path("app/main.py").rename("app/__main__.py")
    assert main(["run", "app"], environment) == 0
    assert sent(grid).entry == "__main__.py"


def test_inputs_may_be_folders_and_keep_their_place_below_this_one(
    grid: HttpsGrid, environment: dict[str, str]
) -> None:
    write(s_py="1", data__a="a", data__deep__b="b")
    elsewhere = Path.cwd().parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "c").write_text("c")
    assert main(["run", "s.py", "--input", "data", "--input", str(elsewhere)], environment) == 0
    assert names(grid) == ["s.py", "data/a", "data/deep/b", "elsewhere/c"]


def test_output_files_of_a_detached_job_are_fetched_later(
    grid: HttpsGrid, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    write(s_py="1")
    ends_with(grid, ends(0, [grid.keep(b"1", "a"), grid.keep(b"22", "b/c")]))
    assert main(["run", "s.py", "--detach"], environment) == 0
    job_id = capsys.readouterr().out.strip()
    assert main(["logs", "-f", job_id], environment) == 0
    assert main(["jobs", "files", job_id[:14], "--output", "got"], environment) == 0
    assert capsys.readouterr().err == "gogrid: 2 output files in got: a, b/c\n"
    assert (Path("got/a").read_bytes(), Path("got/b/c").read_bytes()) == (b"1", b"22")
    assert main(["jobs", "files", job_id, "--json"], environment) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["folder"], [file["name"] for file in shown["files"]]) == (job_id, ["a", "b/c"])
    assert Path(job_id, "a").read_bytes() == b"1"


def test_files_of_a_job_that_left_none_or_goes_on(
    grid: HttpsGrid, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    write(s_py="1")
    assert main(["run", "s.py", "--detach"], environment) == 0
    job_id = capsys.readouterr().out.strip()
    assert main(["logs", "-f", job_id], environment) == 0
    assert main(["jobs", "files", job_id], environment) == 0
    assert capsys.readouterr().err == f"gogrid: {job_id} left no output files.\n"
    assert not Path(job_id).exists()
    grid.jobs.act = None
    assert main(["run", "s.py", "--detach"], environment) == 0
    waiting = capsys.readouterr().out.strip()
    assert main(["jobs", "files", waiting], environment) == 2
    assert "has not ended: it is queued" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("done", "code", "word"),
    [
        (ends(3), 3, ""),
        (ends(139, ended=PythonEnd.CRASHED, signal="SIGSEGV"), 139, "stopped (crashed: SIGSEGV)"),
        (
            ends(137, ended=PythonEnd.MEMORY, detail="The worker ran short."),
            137,
            "stopped (memory): The worker ran short.",
        ),
        (ends(152, ended=PythonEnd.CPU_TIME), 152, "stopped (cpu_time)"),
        (ends(137, ended=PythonEnd.OWNER_RETURNED), 137, "stopped (owner_returned)"),
        (ends(1, detail="Its worker has no module 'x'."), 1, "Its worker has no module 'x'."),
    ],
)
def test_every_end_has_its_word_and_its_exit_code(
    grid: HttpsGrid,
    environment: dict[str, str],
    done: PythonDone,
    code: int,
    word: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ends_with(grid, done)
    write(s_py="1")
    assert main(["run", "s.py"], environment) == code
    said = capsys.readouterr().err
    assert word in said
    assert bool(said) == bool(word)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_terminal_gets_lines_of_bounded_length_and_whole_characters(
    grid: HttpsGrid, environment: dict[str, str]
) -> None:
    from tests.fakes.terminal import Terminal

    write(s_py="1")

    async def act(jobs: ScriptedJobs, job_id: JobId, task: PythonTask) -> PythonDone:
        for data in (
            b"x" * 5000,
            b"y" * 5000,
            b"z\n",
            b"gr\xc3",
            b"\xbc\xc3\x9fe \xe2\x80\xae\x1b[31m\n",
            b"\r50%\r100%",
            b"end",
        ):
            await jobs.write(job_id, "stdout", data)
        return ends(139, ended=PythonEnd.CRASHED, signal="SIGSEGV")

    grid.jobs.act = act
    with Terminal(["run", "s.py"], environment) as terminal:
        assert terminal.wait() == 139
    shown = terminal.shown.decode().replace("\r\n", "\n")
    assert shown.startswith("x" * 5000 + "y" * 3192 + " … (the line goes on)\ngrüße \\u202e\\x1b[31m\n\r50%\r100%end\n")
    assert "\ngogrid: The script was stopped (crashed: SIGSEGV)" in shown


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of Unix")
def test_a_reader_that_has_had_enough_cancels_the_job(grid: HttpsGrid, environment: dict[str, str]) -> None:
    async def act(jobs: ScriptedJobs, job_id: JobId, task: PythonTask) -> None:
        for number in range(200):
            await jobs.write(job_id, "stdout", b"%d\n" % number)
            await asyncio.sleep(0.02)

    grid.jobs.act = act
    process = subprocess.Popen(
        [sys.executable, "-m", "gogrid.client.cli", "run", "-c", "counts"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == b"0\n"
    process.stdout.close()
    said = process.stderr.read().decode()
    process.stderr.close()
    record = list(grid.jobs.records.values())[-1]
    assert process.wait(10) == 1
    assert said.endswith(f"gogrid: nobody reads the output any more; cancelled {record.id}.\n")
    assert record.state is JobState.CANCELLED
