"""One grid with the echo engine for all end-to-end tests of a module: real programs, real QUIC, real sandbox."""

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from gogrid.client.local_grid import LocalGrid


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalGrid]:
    folder = tmp_path_factory.mktemp("grid")
    with LocalGrid(folder) as made:
        made.init()
        made.add_model("echo")
        made.start_coordinator()
        made.start_worker()
        yield made


@pytest.fixture
def client(grid: LocalGrid) -> Iterator[openai.OpenAI]:
    """The official client, unchanged, over the loopback port."""
    with openai.OpenAI(base_url=f"{grid.endpoint.plain_url}/v1", api_key=grid.admin_key, max_retries=0) as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path
