"""Errands of the window with the real runner program: how a token travels, and what a failure says."""

import subprocess
from pathlib import Path

import pytest

from gogrid.addresses import Address
from gogrid.jointoken import mint
from gogrid.places import WorkerPlaces, worker_places
from tray.window.bridge import errands
from tray.window.bridge.errands import ErrandError, WindowErrands

TOKEN = mint(bytes(32), (Address("127.0.0.1", 1),), 4_000_000_000)


@pytest.fixture
def places(tmp_path: Path) -> WorkerPlaces:
    return worker_places(config=None, data=tmp_path, environment={}, platform="linux", home=tmp_path, user=0)


def test_a_token_travels_by_standard_input_only(places: WorkerPlaces, monkeypatch: pytest.MonkeyPatch) -> None:
    real = subprocess.run
    seen: list[tuple[list[str], object]] = []

    def watched(command: list[str], **about: object) -> object:
        seen.append((list(command), about.get("env")))
        assert TOKEN.text().encode() in bytes(about["input"])  # type: ignore[call-overload]
        return real(command, **about)  # type: ignore[call-overload]

    monkeypatch.setattr(errands.subprocess, "run", watched)
    with pytest.raises(ErrandError, match=r"127\.0\.0\.1:1") as refused:
        WindowErrands(places).join(TOKEN.text(), "")
    [(command, environment)] = seen
    assert not any(TOKEN.text() in word for word in command)
    assert environment is None
    assert "gogrid-worker:" not in str(refused.value)


def test_settings_without_a_worker_come_from_the_file_and_go_there(places: WorkerPlaces) -> None:
    window = WindowErrands(places)
    window.change("worker.max_ram", "35%")
    found = {one.key: one for one in window.settings().settings}
    assert (found["worker.max_ram"].value, found["worker.max_ram"].origin) == ("35%", str(places.config))
    with pytest.raises(ErrandError, match="disk_cap"):
        window.change("worker.disk_cap", "plenty")


def test_nobody_at_the_tokens_addresses_is_told_in_words(places: WorkerPlaces) -> None:
    with pytest.raises(Exception, match=r"127\.0\.0\.1:1"):
        WindowErrands(places).coordinator_name(TOKEN)
