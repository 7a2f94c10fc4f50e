"""Threat 12: what a script leaves is looked at without following, opening or counting anything without end."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gogrid.errors import ProtocolError
from gogrid.protocol.tasks import PythonLimits
from runner.python_job.intake import Intake, TooMuchOutputError
from runner.python_job.names import MAX_NAMES_BYTES, check_name, plain_name
from runner.python_job.outputs import OutputLimits, Survey, read, survey
from runner.python_job.pipe import Ended, FileBegins

LIMITS = OutputLimits(total_bytes=1 << 20, files=50)
Make = Callable[[], object]


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text("not yours")
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    Path("good").write_text("good")


def look(limits: OutputLimits = LIMITS) -> tuple[Survey, dict[str, bytes]]:
    folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        found = survey(folder, limits)
        return found, {file.name: b"".join(read(folder, file)) for file in found.files}
    finally:
        os.close(folder)


def nested(depth: int) -> None:
    here = os.getcwd()
    for _ in range(depth):
        os.mkdir("d")
        os.chdir("d")
    Path("bottom").write_text("x")
    os.chdir(here)


def bound(name: str) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)


ONE_LEFT_OUT: dict[str, Make] = {
    "link to a file of the host": lambda: os.symlink("../secret", "link"),
    "absolute link": lambda: os.symlink("/etc/passwd", "link"),
    "link to a folder": lambda: os.symlink("/usr", "link"),
    "link to itself": lambda: os.symlink("link", "link"),
    "link to nothing": lambda: os.symlink("absent", "link"),
    "link that looks like an input but is none": lambda: os.symlink("/job/input/x", "link"),
    "pipe that nobody writes": lambda: os.mkfifo("pipe"),
    "socket": lambda: bound("socket"),
    "folder that is too deep": lambda: nested(17),
}


@pytest.mark.parametrize("make", ONE_LEFT_OUT.values(), ids=ONE_LEFT_OUT)
def test_what_is_no_regular_file_is_left_out_and_counted(make: Make) -> None:
    make()
    found, files = look()
    assert files == {"good": b"good"}
    assert (found.left_out >= 1, found.too_large) == (True, False)


@pytest.mark.skipif(not hasattr(os, "mknod") or os.geteuid() != 0, reason="only root makes devices")
def test_devices_are_left_out() -> None:
    os.mknod("zero", 0o666 | 0o020000, os.makedev(1, 5))
    assert look()[1] == {"good": b"good"}


KEPT: dict[str, tuple[Make, dict[str, bytes]]] = {
    "hard link": (lambda: os.link("good", "same"), {"same": b"good"}),
    "link of an input": (lambda: os.symlink("/job/in/data.csv", "data.csv"), {}),
    "empty folder": (lambda: os.makedirs("a/b/c"), {}),
    "file that only its name makes dangerous": (lambda: Path("-rf").write_text("x"), {"-rf": b"x"}),
    "two names that a Mac takes for one": (
        lambda: [Path(name).write_text(name) for name in ("\u00e9", "e\u0301")],
        {"e\u0301": "e\u0301".encode(), "\u00e9-2": "\u00e9".encode()},
    ),
    "two names that Windows takes for one": (
        lambda: [Path(name).write_text(name) for name in ("a", "A")], {"A": b"A", "a-2": b"a"},
    ),
    "name that is no text": (lambda: Path(os.fsdecode(b"\xff\xfe")).write_text("x"), {"__": b"x"}),
    "name with a line break": (lambda: Path("a\nb").write_text("x"), {"a_b": b"x"}),
    "name with an escape sequence": (lambda: Path("\x1b[2J").write_text("x"), {"_[2J": b"x"}),
    "name that is a device elsewhere": (lambda: Path("CON.txt").write_text("x"), {"_ON.txt": b"x"}),
    "name of the longest kind": (lambda: Path("n" * 255).write_text("x"), {"n" * 200: b"x"}),
}  # fmt: skip


@pytest.mark.parametrize(("make", "more"), KEPT.values(), ids=KEPT)
def test_odd_files_are_kept_under_plain_names(make: Make, more: dict[str, bytes]) -> None:
    make()
    found, files = look()
    assert files == {"good": b"good"} | more
    assert [name for name in files if check_name(name)] == []
    assert (found.left_out, found.too_large) == (0, False)


def flood(count: int, name: str = "{}") -> None:
    for number in range(count):
        os.close(os.open(name.format(number), os.O_CREAT | os.O_WRONLY))


TOO_LARGE: dict[str, Make] = {
    "a sparse file of a terabyte": lambda: os.truncate(os.open("s", os.O_CREAT | os.O_RDWR), 1 << 40),
    "one byte too many": lambda: Path("x").write_bytes(bytes((1 << 20) - 3)),
    "one file too many": lambda: flood(50),
    "folders without end": lambda: [os.mkdir(str(number)) for number in range(1200)],
    "links without end": lambda: [os.symlink("x", str(number)) for number in range(1200)],
}


@pytest.mark.parametrize("make", TOO_LARGE.values(), ids=TOO_LARGE)
def test_more_than_the_limits_keeps_nothing(make: Make) -> None:
    make()
    assert look() == (Survey((), look()[0].left_out, too_large=True), {})


def test_names_may_not_grow_beyond_what_one_message_carries() -> None:
    flood(MAX_NAMES_BYTES // 200 + 10, "{:0200}")
    assert look(OutputLimits(1 << 20, 4000))[0].too_large


def test_a_folder_with_entries_without_end_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    flood(3000)
    seen = 0

    class Counted:
        def __init__(self, folder: int) -> None:
            self._entries = list(real(folder))

        def __enter__(self) -> Iterator[os.DirEntry[str]]:
            return iter(self)

        def __exit__(self, *_: object) -> None: ...

        def __iter__(self) -> Iterator[os.DirEntry[str]]:
            nonlocal seen
            for entry in self._entries:
                seen += 1
                yield entry

    real = os.scandir
    monkeypatch.setattr(os, "scandir", Counted)
    assert look()[0].too_large
    assert seen <= 2100


def test_thousands_of_names_that_become_one_are_told_apart_in_a_few_tries_each() -> None:
    class Counted(set[str]):
        tries = 0

        def __contains__(self, name: object) -> bool:
            self.tries += 1
            return super().__contains__(name)

    taken = Counted()
    for number in range(3000):
        plain_name(("".join(chr(1 + (number >> shift) % 8) for shift in (0, 3, 6, 9)),), taken)
    assert len(taken) == 3000
    assert taken.tries < 3000 * 20


def test_the_runner_counts_names_for_itself() -> None:
    intake = Intake(PythonLimits(output_files=4000))
    intake.begin()
    intake.end(Ended(0, 0, 0, 0, 0, False))
    for number in range(MAX_NAMES_BYTES // 200):
        intake.file(FileBegins(f"{number:0200}", 0))
    with pytest.raises(TooMuchOutputError):
        intake.file(FileBegins("n" * 200, 0))
    with pytest.raises(ProtocolError):
        intake.file(FileBegins("../x", 0))
