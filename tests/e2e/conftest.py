"""Grids with the echo engine, each made once for all tests that leave it as it was: real programs, QUIC and sandbox."""

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from gogrid.client.local_grid import LocalGrid
from tests.faults.faultgrid import DEFAULTS, FaultGrid


@pytest.fixture(scope="session")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalGrid]:
    folder = tmp_path_factory.mktemp("grid")
    with LocalGrid(folder) as made:
        made.init()
        made.add_model("echo")
        made.start_coordinator()
        made.start_worker()
        yield made


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultGrid]:
    """Two workers, `a` and `b`, each behind a proxy, with the product's own times."""
    with FaultGrid(tmp_path_factory.mktemp("pair"), DEFAULTS) as made:
        for name in ("a", "b"):
            made.add_proxied(name)
        made.wait_ready()
        yield made


@pytest.fixture
def client(grid: LocalGrid) -> Iterator[openai.OpenAI]:
    """The official client, unchanged, over the loopback port."""
    with openai.OpenAI(base_url=f"{grid.endpoint.plain_url}/v1", api_key=grid.admin_key, max_retries=0) as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path
