"""What `gogrid-worker --version` says on a machine whose program was updated beside the installer's copy."""

from pathlib import Path

import pytest

import gogrid
from tests.fakes import little_app
from tray.cli import main
from tray.updating.start import version_to_run
from updates.client.layout import Installation
from updates.client.switch import switch
from updates.trust.trusted_state import given_up

INSTALLED, NEWER = 3, 4


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    little_app.write(tmp_path / "installed", INSTALLED, "0.1.0", "good")
    made = little_app.installation(tmp_path / "installed", tmp_path / "app")
    little_app.write(made.folder.version(NEWER), NEWER, "0.1.1", "good")
    return made


def test_the_version_that_runs_is_named_and_not_the_installers(installation: Installation):
    assert version_to_run(installation) == "0.1.0"  # fetched, not switched to
    switch(installation, NEWER)
    assert version_to_run(installation) == "0.1.1 (installed as 0.1.0)"


def test_a_version_that_was_given_up_is_not_named(installation: Installation):
    switch(installation, NEWER)
    installation.change(lambda state: given_up(state, NEWER))
    assert version_to_run(installation) == "0.1.0"


def test_of_what_cannot_be_read_the_installers_copy_is_named_for_that_is_what_starts(installation: Installation):
    switch(installation, NEWER)
    (installation.folder.root / f"trusted-{installation.copy.channel}.json").write_bytes(b"{")
    assert version_to_run(installation) == "0.1.0"


def test_the_newer_one_asked_itself_says_its_own(installation: Installation):
    switch(installation, NEWER)
    newer = little_app.installation(installation.folder.version(NEWER), installation.folder.root)
    assert version_to_run(newer) == "0.1.1"


def test_an_installation_from_source_says_what_is_installed(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["--data", str(tmp_path), "--version"]) == 0
    assert capsys.readouterr().out == f"gogrid-worker {gogrid.__version__}\n"
