"""A model gets in whole, under a name that can be used, and leaves without taking anybody else's files."""

from pathlib import Path

import pytest

from coordinator.errors import ModelRefusedError
from coordinator.models.catalogue import ECHO, blobs_of, check_name, publish, unpublish
from coordinator.models.folder import inspect_model
from coordinator.records import JobKind, NewJob
from coordinator.state.blobs import BlobStore
from coordinator.store.sqlite_store import SqliteStore
from gogrid.ids import KeyId, new_job_id
from gogrid.manifest import decode_manifest
from gogrid.protocol.tasks import InputFile, PythonTask
from tests.fakes.model_folders import chat_folder


def test_a_published_model_is_its_manifest_and_files_by_hash(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path / "blobs")
    record = publish(inspect_model(chat_folder(tmp_path / "m")), "smol", blobs, 5.0)
    with blobs.open(record.digest) as file:
        manifest = decode_manifest(file.read())
    assert {file.path for file in manifest.files} == {"config.json", "tokenizer.json", "model.safetensors"}
    assert all(blobs.size(file.sha256) == file.size for file in manifest.files)
    assert (record.size_bytes, record.added_at, record.context_length) == (manifest.size_bytes, 5.0, 128)
    again = publish(inspect_model(tmp_path / "m"), "other", blobs, 6.0)
    assert again.digest == record.digest


@pytest.mark.parametrize("name", ["smol", "org/smol-1.5:q4_1", "a" * 96])
def test_a_usable_name_is_used(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", " ", "a b", "../x", "a//b", "a/", "-a", "a" * 97, "ü", "a\n", "a?b"])
def test_an_unusable_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelRefusedError, match="--name"):
        publish(ECHO, name, BlobStore(tmp_path), 0.0)


async def test_removing_a_model_leaves_what_others_need(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path / "blobs")
    store = await SqliteStore.open(tmp_path / "x.db")
    first = publish(inspect_model(chat_folder(tmp_path / "a")), "a", blobs, 0.0)
    second = publish(inspect_model(chat_folder(tmp_path / "b", max_position_embeddings=64)), "b", blobs, 0.0)
    await store.add_model(first)
    await store.add_model(second)
    own = sorted(blobs_of(first, blobs) - blobs_of(second, blobs))
    script = InputFile(name="config.json", sha256=own[0], size=1)
    await store.submit(
        NewJob(new_job_id(), KeyId("k"), JobKind.PYTHON, PythonTask(files=(script,), entry="x"), "x", 1.0)
    )
    await unpublish(await store.remove_model("a"), store, blobs)
    assert set(blobs.digests()) == blobs_of(second, blobs) | {own[0]}
    await store.close()
