"""A release that did not work on a machine shows in the coordinator's list: with the reason, in one short line."""

from pathlib import Path

from gogrid.places import WorkerPlaces, worker_places
from runner.survey import update_note

NOTE = "version 2.0 did not start on this machine; back to version 1.9"


def places(data: Path) -> WorkerPlaces:
    return worker_places(config=None, data=data, environment={}, platform="linux", home=data, user=1)


def test_a_rolled_back_release_is_told(tmp_path: Path) -> None:
    here = places(tmp_path)
    assert update_note(here) == ""
    here.app.mkdir()
    here.update_note.write_text(NOTE)
    assert update_note(here) == NOTE


def test_what_lies_there_is_one_line_of_bounded_length(tmp_path: Path) -> None:
    here = places(tmp_path)
    here.app.mkdir()
    here.update_note.write_bytes(b"a\nb\x00\xff" + b"c" * 10_000)
    note = update_note(here)
    assert "\n" not in note
    assert len(note) <= 300
