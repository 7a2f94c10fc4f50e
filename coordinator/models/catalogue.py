"""The models that can be asked for, in memory; and how one gets in.

`publish` is the order that keeps a model whole: every file is a blob on disk, then the manifest is, and only then does
the name exist. A refusal or a crash before that leaves no model, only blobs that nothing names.
"""

import re
from collections.abc import Iterable

from coordinator.errors import ModelRefusedError, NotFoundError, UnknownModelError
from coordinator.models.folder import ModelSource
from coordinator.records import JobKind, JobRecord, ModelKind, ModelRecord, decode_result
from coordinator.state.blobs import BlobStore
from coordinator.store.base import Store
from gogrid.ids import Sha256
from gogrid.manifest import ModelFile, ModelManifest, decode_manifest, encode_manifest
from gogrid.protocol.job_messages import PythonDone
from gogrid.protocol.tasks import PythonTask

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,95}")
_MAX_MANIFEST = 1 << 20
_ALL = 1 << 31


class Catalogue:
    def __init__(self, models: Iterable[ModelRecord] = ()) -> None:
        self._models: dict[str, ModelRecord] = {}
        self.replace(models)

    def replace(self, models: Iterable[ModelRecord]) -> None:
        """Know exactly these models from now on."""
        self._models = {model.name: model for model in models}

    def models(self) -> list[ModelRecord]:
        """By name."""
        return [self._models[name] for name in sorted(self._models)]

    def model(self, name: str) -> ModelRecord:
        """Raises `UnknownModelError`."""
        model = self._models.get(name)
        if model is None:
            raise UnknownModelError(self._not_here(name))
        return model

    def _not_here(self, name: str) -> str:
        if not self._models:
            return (
                f"There is no model {name[:96]!r} here, for none was added yet: the admin adds one with "
                "`gogrid-coordinator model add PATH`."
            )
        meant = next((known for known in sorted(self._models) if known.casefold() == name.casefold()), None)
        if meant is not None:
            return f"There is no model {name[:96]!r} here; did you mean {meant}?"
        return f"There is no model {name[:96]!r} here; there is: {', '.join(sorted(self._models))}."

    def with_digest(self, digest: Sha256) -> ModelRecord:
        """Raises `UnknownModelError`."""
        model = next((model for model in self._models.values() if model.digest == digest), None)
        if model is None:
            raise UnknownModelError(f"The model {digest[:12]}… is not here any more.")
        return model


def check_name(name: str) -> str:
    """The name, if it can be used in addresses and commands.

    Raises:
        ModelRefusedError: says what is allowed.
    """
    if not _NAME.fullmatch(name) or ".." in name or "//" in name or name.endswith("/"):
        raise ModelRefusedError(
            f"The model name {name[:96]!r} cannot be used: up to 96 letters, digits and . _ : / - , "
            "starting with a letter or digit; choose one with --name."
        )
    return name


def publish(source: ModelSource, name: str, blobs: BlobStore, now: float) -> ModelRecord:
    """Store the model's files and its manifest; returns the record that `Store.add_model` then makes visible.

    Raises:
        ModelRefusedError: the name cannot be used, or a file changed while it was read.
        StorageFullError: the disk is full.
    """
    check_name(name)
    files: list[ModelFile] = []
    for file in source.files:
        stored = blobs.put_file(file.source)
        if stored.size != file.size:
            raise ModelRefusedError(f"{file.source} changed while it was read; try again.")
        files.append(ModelFile(path=file.path, sha256=stored.sha256, size=stored.size))
    manifest = ModelManifest(
        kind=source.kind.value,
        engine=source.engine,
        format=source.format,
        context_length=source.context_length,
        width=source.width,
        memory_bytes=source.memory_bytes,
        files=tuple(files),
    )
    digest = blobs.put_bytes(encode_manifest(manifest)).sha256
    return ModelRecord(
        name=name,
        digest=digest,
        kind=source.kind,
        engine=source.engine,
        size_bytes=manifest.size_bytes,
        memory_bytes=source.memory_bytes,
        context_length=source.context_length,
        width=source.width,
        added_at=now,
        kv_token_bytes=source.kv_token_bytes,
    )


async def unpublish(removed: ModelRecord, store: Store, blobs: BlobStore) -> None:
    """Delete the blobs that only `removed` needed: no other model, and no Python job that is remembered."""
    gone = blobs_of(removed, blobs)
    for model in await store.models():
        gone -= blobs_of(model, blobs)
    for job in await store.jobs(None, (), (JobKind.PYTHON,), _ALL):
        gone -= blobs_of_job(job)
    for digest in gone:
        blobs.delete(digest)


def blobs_of(model: ModelRecord, blobs: BlobStore) -> set[Sha256]:
    """The manifest and every file of a model; just the manifest if that is gone."""
    try:
        with blobs.open(model.digest) as file:
            manifest = decode_manifest(file.read(_MAX_MANIFEST))
    except NotFoundError:
        return {model.digest}
    return {model.digest, *(file.sha256 for file in manifest.files)}


def blobs_of_job(job: JobRecord) -> set[Sha256]:
    """A Python job's inputs and outputs."""
    digests: set[Sha256] = set()
    if isinstance(job.task, PythonTask):
        digests.update(file.sha256 for file in job.task.files)
    if job.outcome is not None and job.outcome.result:
        result = decode_result(job.outcome.result)
        if isinstance(result, PythonDone):
            digests.update(file.sha256 for file in result.files)
    return digests


ECHO = ModelSource(
    kind=ModelKind.CHAT, engine="echo", format="none", context_length=4096, width=0, memory_bytes=1 << 20, files=()
)
"""The model of the `echo` engine, which answers with what it was asked: for tests and benchmarks."""
