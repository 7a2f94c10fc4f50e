"""Embeddings whose worker is killed or frozen in their middle are computed again elsewhere, by a real model: a client
that waits notices only the time, and a durable job keeps all of them."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from gogrid.client.demo.steps import EMBEDDING_MODEL, model_sources
from tests.faults.faultgrid import FaultGrid, GridWorker, within
from tests.faults.figures import Row, Table
from tests.faults.load import FINAL

pytestmark = [pytest.mark.sandbox, pytest.mark.soak, pytest.mark.fault("embedding")]

TIMES = 4
_TEXTS = [f"Sentence {number} of many: {'a long day by the sea, ' * 12}" for number in range(100)]
_ASKED = {"model": EMBEDDING_MODEL, "input": _TEXTS}
_PATIENCE_S = 120.0


def vectors(answer: httpx.Response) -> list[list[float]]:
    assert answer.status_code == 200, answer.text[:300]
    return [row["embedding"] for row in answer.json()["data"]]


def at_once(grid: FaultGrid) -> list[list[float]]:
    return vectors(grid.http.post("/v1/embeddings", json=_ASKED, timeout=_PATIENCE_S))


def as_a_job(grid: FaultGrid) -> list[list[float]]:
    made = grid.http.post("/api/v1/jobs", json={"kind": "embedding", "request": _ASKED})
    assert made.status_code == 201, made.text[:300]
    path = f"/api/v1/jobs/{made.json()['id']}"
    assert within(_PATIENCE_S, lambda: grid.http.get(path).json()["state"] in FINAL, 0.1)
    return vectors(grid.http.get(f"{path}/result", timeout=_PATIENCE_S))


def busy(grid: FaultGrid) -> GridWorker | None:
    return next((worker for worker in grid.workers if int(str(grid.listed()[worker.name]["running"]))), None)


def hurt(grid: FaultGrid, victim: GridWorker, freeze: bool) -> None:
    if freeze:
        victim.freeze()
        time.sleep(5.0)
        victim.thaw()
    else:
        victim.kill()
        victim.start()


@pytest.mark.parametrize("ask", [at_once, as_a_job], ids=["at once", "job"])
def test_embeddings_survive_their_worker(
    tmp_path: Path, table: Table, ask: Callable[[FaultGrid], list[list[float]]], request: pytest.FixtureRequest
) -> None:
    path = next(source.path for source in model_sources() if source.name == EMBEDDING_MODEL)
    took, same = [], 0
    with FaultGrid(tmp_path) as grid, ThreadPoolExecutor(1) as thread:
        grid.local.add_model(EMBEDDING_MODEL, path)
        for name in ("one", "two"):
            grid.add_worker(name)
        grid.wait_ready()
        wanted = ask(grid)
        for number in range(TIMES):
            begun = time.monotonic()
            asked = thread.submit(ask, grid)
            assert within(_PATIENCE_S, lambda: busy(grid) is not None)
            time.sleep(0.3)
            victim = busy(grid)
            assert victim is not None, "it had ended before it could be hurt"
            hurt(grid, victim, freeze=number % 2 == 1)
            same += asked.result(2 * _PATIENCE_S) == wanted
            took.append(time.monotonic() - begun)
            grid.wait_ready(seconds=60)
    how = request.node.callspec.id
    others = {"the same vectors": f"{same} of {TIMES}", "max s": max(took)}
    table.add(Row(f"embedding: {how}", TIMES, "all there, the same", same == TIMES, None, others))
    assert same == TIMES
