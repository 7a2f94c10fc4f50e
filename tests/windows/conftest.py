"""Tests that run on Windows Python only: on Windows, or under Wine by `make test-windows`. Others skip the files."""

import sys

import pytest

from runner.sandbox.windows.launcher import WindowsLauncher
from tests.windows.surroundings import untested_launcher

collect_ignore_glob = [] if sys.platform == "win32" else ["*_test.py"]


@pytest.fixture(scope="session")
def launcher() -> WindowsLauncher:
    """Without its self-test, which Wine cannot pass; `windows_judgement_test.py` is about that."""
    return untested_launcher()
