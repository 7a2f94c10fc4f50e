"""What a model folder may hold, looked at before any library reads it. Pure but for reading the folder; needs no torch.

Refuses, with the file named: weights in pickle or any other format that can carry code, Python or native code,
configurations that ask for code (`auto_map`), files that are larger than any of their kind need be, and safetensors
headers that are too large, or whose tensors do not fill their file one behind the other. The coordinator checks models
when they are added; this is the second look, inside the sandbox, by the one who loads.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import msgspec

from gogrid.protocol.job_messages import FailCode
from runner.errors import ModelError

HEADER_LIMIT = 16 << 20
TENSOR_LIMIT = 100_000
_CONFIG_LIMIT = 16 << 20
_OTHER_LIMIT = 256 << 20
"""Of a file that holds no weights; the largest are vocabularies."""
_DIMENSIONS_LIMIT = 8
_BITS = {
    "F64": 64, "I64": 64, "U64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16, "I16": 16, "U16": 16,
    "I8": 8, "U8": 8, "BOOL": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F4": 4,
}  # fmt: skip
_FILES_LIMIT = 1000
_CODE = (".py", ".pyc", ".so", ".dll", ".dylib", ".sh", ".exe", ".jar")
_PICKLES = tuple(
    [
        ".bin",
        ".pt",
        ".pth",
        ".pkl",
        ".pickle",
        ".ckpt",
        ".pt2",
        ".npy",
        ".npz",
        ".h5",
        ".hdf5",
        ".keras",
        ".joblib",
        ".ot",
        ".zip",
        ".tar",
        ".gz",
        ".7z",
        ".mar",
    ]
)
_MAGIC = {
    b"PK\x03\x04": "a zip archive, which is how PyTorch packs pickle",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy file",
    **{bytes((0x80, version)): "a pickle" for version in range(1, 6)},
}
_ADVICE = "only safetensors and GGUF weights are served, because other formats can carry code"


class _Config(msgspec.Struct):
    """The part of `config.json` that decides who serves the model."""

    architectures: tuple[str, ...] | None = None
    model_type: str = ""


class _Entry(msgspec.Struct):
    """A tensor in a safetensors header."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """An acceptable folder."""

    path: Path
    gguf: str | None
    """The name of its GGUF file, if that is what its weights are in."""
    embedding: bool
    """True: text goes in, vectors come out; False: it writes text."""
    architecture: str


def check_model(folder: Path) -> ModelFolder:
    """Look at everything in `folder`.

    Raises:
        ModelError: names the file, what is wrong with it and what is allowed.
    """
    if not folder.is_dir():
        raise _refuse(f"there is no folder {str(folder)!r}")
    files = sorted(path for path in folder.rglob("*") if not path.is_dir())
    if len(files) > _FILES_LIMIT:
        raise _refuse(f"it has {len(files)} files; {_FILES_LIMIT} are allowed")
    for path in files:
        _check_file(path, path.relative_to(folder).as_posix())
    weights = [path for path in files if path.suffix == ".safetensors" and path.parent == folder]
    ggufs = [path.name for path in files if path.suffix == ".gguf" and path.parent == folder]
    if weights:
        return _described(folder, files)
    if len(ggufs) == 1:
        return ModelFolder(folder, ggufs[0], embedding=False, architecture="GGUF")
    if ggufs:
        raise _refuse(f"it has {len(ggufs)} GGUF files ({', '.join(ggufs[:4])}); exactly one is allowed")
    raise _refuse(f"it has no weights; {_ADVICE}")


def check_safetensors(path: Path, name: str) -> None:
    """Refuse a header that is too large, is no header, or whose tensors do not fill the file; raises `ModelError`."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise _refuse(f"{name} is cut short or is not a safetensors file")
        if length > HEADER_LIMIT:
            raise _refuse(f"{name} has a header of {length} bytes; {HEADER_LIMIT} are allowed")
        header = file.read(length)
    try:
        entries = msgspec.json.decode(header, type=dict[str, msgspec.Raw])
        entries.pop("__metadata__", None)
        if len(entries) > TENSOR_LIMIT:
            raise _refuse(f"{name} names {len(entries)} tensors; {TENSOR_LIMIT} are allowed")
        tensors = [msgspec.json.decode(raw, type=_Entry) for raw in entries.values()]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _refuse(f"{name} has a header that is no list of tensors: {error}") from error
    _check_layout(tensors, size - 8 - length, name)


def _check_layout(tensors: list[_Entry], data_bytes: int, name: str) -> None:
    position = 0
    for tensor in sorted(tensors, key=lambda each: each.data_offsets):
        begin, end = tensor.data_offsets
        if not begin == position <= end <= data_bytes:
            raise _refuse(f"{name} names a tensor at bytes {begin} to {end}, outside its file or not behind the others")
        shape, bits = tensor.shape, _BITS.get(tensor.dtype)
        if bits is None:
            raise _refuse(f"{name} has a tensor of the unknown type {tensor.dtype[:20]!r}")
        if len(shape) > _DIMENSIONS_LIMIT or min(shape, default=0) < 0 or math.prod(shape) * bits != (end - begin) * 8:
            raise _refuse(f"{name} has a tensor at bytes {begin} to {end} whose shape does not fit them")
        position = end
    if position != data_bytes:
        raise _refuse(f"{name} holds {data_bytes - position} bytes that belong to no tensor")


def _check_file(path: Path, name: str) -> None:
    suffix = path.suffix.lower()
    if not path.is_file():
        raise _refuse(f"{name} is not a plain file")
    if suffix in _CODE:
        raise _refuse(f"{name} is program code; models may bring none")
    if suffix in _PICKLES:
        raise _refuse(f"{name} is not acceptable: {_ADVICE}")
    size = path.stat().st_size
    if size > _OTHER_LIMIT and suffix not in (".safetensors", ".gguf"):
        raise _refuse(f"{name} has {size} bytes; a file without weights may have {_OTHER_LIMIT}")
    with path.open("rb") as file:
        start = file.read(8)
    for magic, what in _MAGIC.items():
        if start.startswith(magic) and suffix != ".safetensors":
            raise _refuse(f"{name} is {what}; {_ADVICE}")
    if suffix == ".safetensors":
        check_safetensors(path, name)
    if suffix == ".gguf" and start[:4] != b"GGUF":
        raise _refuse(f"{name} is not a GGUF file")
    if suffix == ".json" and path.name.endswith("config.json"):
        _check_config(path, name)


def _check_config(path: Path, name: str) -> None:
    """No configuration may ask for code."""
    size = path.stat().st_size
    if size > _CONFIG_LIMIT:
        raise _refuse(f"{name} has {size} bytes; {_CONFIG_LIMIT} are allowed")
    try:
        content = msgspec.json.decode(path.read_bytes())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _refuse(f"{name} is not JSON: {error}") from error
    for asked in ("auto_map", "custom_pipelines"):
        if _mentions(content, asked):
            raise _refuse(f"{name} asks for code of the model's own ({asked}); such models are not served")


def _mentions(value: object, name: str) -> bool:
    """Whether `name` is a key at any depth: parts of a model have configurations of their own."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if name in part:
                return True
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)
    return False


def _described(folder: Path, files: list[Path]) -> ModelFolder:
    """What kind of model a folder with safetensors weights holds, by its own configuration."""
    config = folder / "config.json"
    if config not in files:
        raise _refuse("it has no config.json")
    try:
        described = msgspec.json.decode(config.read_bytes(), type=_Config)
    except msgspec.DecodeError as error:
        raise _refuse(f"config.json is not a model's configuration: {error}") from error
    architecture = (described.architectures or (described.model_type or "unknown",))[0]
    embedding = folder / "modules.json" in files or (architecture.endswith("Model") and "LMHead" not in architecture)
    if not embedding and not architecture.endswith(("ForCausalLM", "LMHeadModel")):
        raise _refuse(f"config.json names {architecture}; chat models (…ForCausalLM) and embedding models are served")
    return ModelFolder(folder, None, embedding, architecture)


def _refuse(what: str) -> ModelError:
    return ModelError(f"This model is refused: {what}.", FailCode.MODEL_UNUSABLE)
