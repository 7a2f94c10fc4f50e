import asyncio
import os
from pathlib import Path

import pytest

from runner.errors import SandboxUnavailableError
from runner.sandbox.base import Launcher
from runner.sandbox.choose import choose_launcher
from tests.attack.jobs import Jobs


@pytest.fixture(scope="session")
def launcher() -> Launcher:
    try:
        return asyncio.run(choose_launcher())
    except SandboxUnavailableError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.fixture
def jobs(launcher: Launcher, tmp_path: Path) -> Jobs:
    return Jobs(launcher, tmp_path)
