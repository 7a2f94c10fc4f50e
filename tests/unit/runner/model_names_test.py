"""A model on disk keeps the name that the coordinator calls it by, whatever happens to the worker or its disk."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gogrid.ids import Sha256
from gogrid.places import WorkerPlaces
from runner.models.disk import delete_tree
from runner.models.names import ModelNames, load_names
from runner.models.offline import list_models, prune_models
from tests.fakes.local_models import MemoryBlobs
from tests.fakes.stored_models import store_model

ONE, OTHER, GONE = (Sha256(letter * 64) for letter in "abc")


@asynccontextmanager
async def keeping(path: Path, names: dict[Sha256, str]) -> AsyncIterator[ModelNames]:
    made = ModelNames(path, names)
    made.open()
    running = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def written(path: Path) -> None:
    async with asyncio.timeout(5):
        while not path.is_file():
            await asyncio.sleep(0.005)


async def test_names_of_the_models_on_disk_outlive_the_worker(tmp_path: Path) -> None:
    path = tmp_path / "state" / "model-names.json"
    async with keeping(path, {ONE: "smollm2", GONE: "forgotten"}) as names:
        names.changed((ONE, OTHER))
        await written(path)
    again: dict[Sha256, str] = {}
    ModelNames(path, again).open()
    assert again == {ONE: "smollm2"}


async def test_what_has_not_changed_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "model-names.json"
    known = {ONE: "smollm2"}
    async with keeping(path, known) as names:
        names.changed((ONE,))
        await written(path)
        path.unlink()
        for _ in range(20):
            names.changed((ONE,))
            await asyncio.sleep(0.005)
        assert not path.exists()
        known[ONE] = "renamed"
        names.changed((ONE,))
        await written(path)
    assert load_names(path) == {ONE: "renamed"}


def test_what_the_coordinator_says_now_counts_more_than_what_was_kept(tmp_path: Path) -> None:
    path = tmp_path / "model-names.json"
    path.write_text(f'{{"{ONE}": "old", "{OTHER}": "other"}}')
    names = {ONE: "new"}
    ModelNames(path, names).open()
    assert names == {ONE: "new", OTHER: "other"}


@pytest.mark.parametrize(
    "content", ["", "[]", '{"a": 1}', "\udcff", "folder"], ids=["empty", "a list", "a number", "no text", "a folder"]
)
def test_a_file_that_cannot_be_understood_is_no_names(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "model-names.json"
    if content == "folder":
        path.mkdir()
    else:
        path.write_bytes(content.encode(errors="surrogateescape"))
    assert load_names(path) == {}
    [record] = caplog.records
    assert str(path) in record.message


async def test_a_disk_that_takes_nothing_costs_a_line_and_the_next_change_is_tried(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "state"
    folder.write_text("in the way")
    known = {ONE: "smollm2"}
    async with keeping(folder / "names.json", {}) as none:
        none.changed((ONE,))
        caplog.clear()
    async with keeping(folder / "names.json", known) as names:
        names.changed((ONE,))
        async with asyncio.timeout(5):
            while "is not kept" not in caplog.text:
                await asyncio.sleep(0.005)
        folder.unlink()
        known[ONE] = "renamed"
        names.changed((ONE,))
        await written(folder / "names.json")


def test_names_are_shown_while_no_worker_runs(tmp_path: Path) -> None:
    places = WorkerPlaces(tmp_path / "c.toml", tmp_path, tmp_path / "control.sock", tmp_path / "app.sock")
    digest = store_model(places.models, MemoryBlobs(), used=1.0)
    places.state.mkdir()
    places.model_names.write_text(f'{{"{digest}": "smollm2"}}')
    try:
        assert [model.name for model in list_models(places).models] == ["smollm2"]
        assert [model.name for model in prune_models(places, 1.0, 100.0).models] == ["smollm2"]
    finally:
        delete_tree(places.models)
