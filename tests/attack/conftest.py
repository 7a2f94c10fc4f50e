import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.errors import SandboxUnavailableError
from runner.sandbox.base import Launcher
from runner.sandbox.choose import choose_launcher
from tests.attack.hostile_grid import HostileGrid, hostile_grid
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


@pytest.fixture(scope="session")
def grid(launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostileGrid]:
    """One for all attacks that leave it as it was; `launcher` skips them where no sandbox works."""
    with hostile_grid(tmp_path_factory.mktemp("hostile-grid")) as made:
        yield made
