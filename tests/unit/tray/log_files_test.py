"""Reading the logs of several processes, also while they are rotated."""

import logging.handlers
from pathlib import Path

import pytest

from tray.log_files import ROTATED, Follower, tail


def lines(folder: Path, count: int = 100) -> list[tuple[str, str]]:
    return [(line.log, line.text) for line in tail(folder, count)]


def test_lines_of_all_processes_stand_in_the_order_of_their_times(tmp_path: Path) -> None:
    (tmp_path / "worker.log").write_text("2026-01-01 10:00:00,100 a\nTraceback\n  deep\n2026-01-01 10:00:02,000 c\n")
    (tmp_path / "tray.log").write_text("2026-01-01 10:00:01 tray: b\n2026-01-01 10:00:03 tray: d\n")
    assert [text[-1:] for _, text in lines(tmp_path)] == ["a", "k", "p", "b", "c", "d"]
    assert lines(tmp_path, 2) == [("worker", "2026-01-01 10:00:02,000 c"), ("tray", "2026-01-01 10:00:03 tray: d")]
    assert lines(tmp_path, 0) == []
    assert lines(tmp_path / "none") == []


def test_the_last_lines_reach_into_rotated_files(tmp_path: Path) -> None:
    (tmp_path / "worker.log").write_text("3\n4\n")
    (tmp_path / "worker.log.1").write_text("1\n2\n")
    assert [text for _, text in lines(tmp_path, 3)] == ["2", "3", "4"]


def log(folder: Path, name: str, most: int) -> logging.handlers.RotatingFileHandler:
    return logging.handlers.RotatingFileHandler(folder / f"{name}.log", maxBytes=most, backupCount=ROTATED)


def say(handler: logging.Handler, text: str) -> None:
    handler.emit(logging.LogRecord("n", logging.INFO, "", 0, text, None, None))


def test_following_loses_and_repeats_no_line_over_rotations(tmp_path: Path) -> None:
    handler = log(tmp_path, "worker", 100)
    say(handler, "before")
    follower = Follower(tmp_path)
    seen: list[str] = []
    said = [f"line {number}" for number in range(120)]
    for number, text in enumerate(said):
        say(handler, text)
        if number % 20 == 19:  # about two rotations between two looks
            seen += [line.text for line in follower.poll()]
    handler.close()
    assert seen == said
    assert follower.poll() == []


def test_half_a_line_waits_for_its_other_half(tmp_path: Path) -> None:
    (tmp_path / "tray.log").write_text("")
    follower = Follower(tmp_path)
    with (tmp_path / "tray.log").open("a") as file:
        file.write("half")
        file.flush()
        assert follower.poll() == []
        file.write(" whole\n")
    assert [line.text for line in follower.poll()] == ["half whole"]


def test_a_process_that_begins_to_log_later_is_followed_from_its_first_line(tmp_path: Path) -> None:
    follower = Follower(tmp_path / "logs")
    assert follower.poll() == []
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "window.log").write_text("first\n")
    assert [(line.log, line.text) for line in follower.poll()] == [("window", "first")]


def test_a_line_without_an_end_is_not_held_back_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "worker.log"
    path.touch()
    follower = Follower(tmp_path)
    path.write_bytes(b"x" * 70_000)
    assert [len(line.text) for line in follower.poll()] == [70_000]
    assert follower.poll() == []


def test_a_file_that_was_emptied_is_read_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "worker.log"
    path.write_text("a long line that was there\n")
    follower = Follower(tmp_path)
    path.write_text("new\n")
    assert [line.text for line in follower.poll()] == ["new"]


@pytest.mark.parametrize("data", [b"\xff\xfe broken \x80\n", b"\x1b[2J cleared\r\n"])
def test_bytes_that_are_no_text_are_read_all_the_same(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "worker.log").write_bytes(data)
    assert len(lines(tmp_path)) == 1
