"""Logs for the page: whole lines, bounded pieces, and no file but a log."""

from pathlib import Path

import pytest

from tray.window.bridge.logs import PIECE_BYTES, LogFiles, NoSuchLogError


def test_the_worker_comes_first_and_the_end_is_read(tmp_path: Path) -> None:
    for name in ("tray.log", "worker.log.1", "worker.log"):
        (tmp_path / name).write_text(f"{name} one\n{name} two\nhalf a li")
    piece = LogFiles(tmp_path).read("", -1)
    assert piece.files == ("worker.log", "tray.log", "worker.log.1")
    assert (piece.file, piece.text) == ("worker.log", "worker.log one\nworker.log two\n")


def test_lines_that_windows_wrote_end_like_others_and_none_is_lost(tmp_path: Path) -> None:
    path, logs = tmp_path / "worker.log", LogFiles(tmp_path)
    path.write_bytes(b"one\r\ntwo\r\nthr")
    first = logs.read("worker.log", -1)
    path.write_bytes(b"one\r\ntwo\r\nthree\r\n")
    assert (first.text, logs.read("worker.log", first.next).text) == ("one\ntwo\n", "three\n")


def test_following_gives_every_line_once(tmp_path: Path) -> None:
    path, logs = tmp_path / "worker.log", LogFiles(tmp_path)
    path.write_text("one\ntw")
    first = logs.read("worker.log", -1)
    path.write_text("one\ntwo\nthree\n")
    second = logs.read("worker.log", first.next)
    assert (first.text, second.text, second.anew) == ("one\n", "two\nthree\n", False)
    assert logs.read("worker.log", second.next).text == ""


def test_a_long_log_is_read_in_bounded_pieces(tmp_path: Path) -> None:
    lines = "".join(f"line {number:06} äöü\n" for number in range(20_000))
    (tmp_path / "worker.log").write_text(lines)
    logs = LogFiles(tmp_path)
    last = logs.read("worker.log", -1)
    assert len(last.text.encode()) <= PIECE_BYTES
    assert lines.endswith(last.text)
    assert last.text.startswith("line ")
    text, at = "", 0
    while (piece := logs.read("worker.log", at)).text:
        text, at = text + piece.text, piece.next
    assert text == lines


def test_a_rotated_log_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "worker.log").write_text("short\n")
    piece = LogFiles(tmp_path).read("worker.log", 5000)
    assert (piece.anew, piece.text) == (True, "short\n")


@pytest.mark.parametrize("name", ["../secret.log", "/etc/passwd", "state", "linked.log", "worker.log/../x"])
def test_only_logs_are_read_whatever_name_is_asked_for(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.log").write_text("secret")
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "worker.log").write_text("fine\n")
    (folder / "linked.log").symlink_to(tmp_path / "secret.log")
    with pytest.raises(NoSuchLogError):
        LogFiles(folder).read(name, -1)


def test_no_folder_is_no_logs(tmp_path: Path) -> None:
    assert LogFiles(tmp_path / "none").read("", -1).files == ()
