"""Looks at a model before it is taken: a Hugging Face folder or one GGUF file.

Takes only what serving needs: weights, configuration, tokenizer, chat template, pooling. Refuses, and names the file:
pickle weights (by name or by content), code and whatever would ask for code (`auto_map`, unknown classes), a missing
tokenizer, damaged or oversized headers, links that leave the folder, anything that is not a plain file. Nothing in the
folder is run or unpickled; no tensor is loaded.
"""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from coordinator.errors import ModelRefusedError
from coordinator.models.config import ModelShape, read_shape
from coordinator.models.gguf_header import GgufHeader, read_gguf
from coordinator.models.json_files import read_fields
from coordinator.models.memory import Attention, Sizes, Weights, chat_bytes, embedding_bytes
from coordinator.models.safetensors_header import check_safetensors
from coordinator.records import ModelKind

Format = Literal["safetensors", "gguf", "none"]

_MAX_ENTRIES = 10_000
_MAX_WEIGHT_FILES = 1000
_MAX_TOKENIZER = 256 << 20
_MAX_TEMPLATE = 64 << 10
_IGNORED_FOLDERS = frozenset({"onnx", "openvino"})
"""Other runtimes' copies of the weights: never taken, so nothing in them matters."""
_PICKLED = frozenset(
    {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".pt2", ".joblib", ".npy", ".npz", ".h5", ".keras"}
)
_CODE = frozenset({".py", ".pyc", ".so", ".dll", ".dylib"})
_PICKLE_STARTS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04", b"\x93NUMPY", b"\x89HDF")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_INDEX = "model.safetensors.index.json"
_SETTINGS = ("config.json", "generation_config.json", "modules.json", "sentence_bert_config.json",
             "config_sentence_transformers.json", "tokenizer_config.json", "special_tokens_map.json",
             "added_tokens.json", "chat_template.json")  # fmt: skip
_TOKENIZERS = (("tokenizer.json",), ("tokenizer.model",), ("vocab.txt",), ("vocab.json", "merges.txt"),
               ("spiece.model",), ("sentencepiece.bpe.model",))  # fmt: skip
_TEMPLATE = "chat_template.jinja"


@dataclass(frozen=True, slots=True)
class SourceFile:
    path: str
    """As the manifest will name it."""
    source: Path
    """Where it lies now, links resolved."""
    size: int


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model that may be taken."""

    kind: ModelKind
    engine: str
    format: Format
    context_length: int
    width: int
    memory_bytes: int
    files: tuple[SourceFile, ...]
    kv_token_bytes: int = 0
    """KV cache of one token of one sequence; 0: none, or not known."""


def inspect_model(path: Path) -> ModelSource:
    """Look at a folder or a `.gguf` file.

    Raises:
        ModelRefusedError: names the file, what is wrong with it, and what helps.
    """
    try:
        if path.is_dir():
            return _inspect_folder(path)
        if not path.exists():
            raise ModelRefusedError(f"{path} does not exist; give a model folder or a .gguf file.")
        return _inspect_gguf(path)
    except OSError as error:
        raise ModelRefusedError(f"{error.filename or path} cannot be read: {error.strerror or error}.") from error


# --- GGUF ------------------------------------------------------------------------------------------------------------


def _inspect_gguf(path: Path) -> ModelSource:
    if path.suffix != ".gguf":
        if path.suffix in _PICKLED:
            raise ModelRefusedError(_about_pickle(path))
        raise ModelRefusedError(f"{path} is neither a folder nor a .gguf file.")
    source = _plain(path.parent.resolve(), path.parent, path.name)
    header = read_gguf(source.source)
    if not header.text("tokenizer.ggml.model"):
        raise ModelRefusedError(f"{path} holds no tokenizer.")
    if (header.fields.get("split.count") or 0) not in (0, 1):
        raise ModelRefusedError(f"{path} is one part of a split model; merge its parts into one file first.")
    context, layers, width = (header.integer(key) for key in ("context_length", "block_count", "embedding_length"))
    if context is None or layers is None or width is None:
        raise ModelRefusedError(f"{path} does not say its context length, layers and width.")
    if header.integer("pooling_type") is not None or header.text("general.architecture").endswith("bert"):
        raise ModelRefusedError(f"{path} is an embedding model in GGUF; add its safetensors folder instead.")
    attention, sizes = _gguf_attention(header, layers, width), _gguf_sizes(header, width, context)
    return ModelSource(
        kind=ModelKind.CHAT,
        engine="torch",
        format="gguf",
        context_length=context,
        width=0,
        memory_bytes=chat_bytes(Weights(header.parameters, 0), attention, sizes),
        files=(source,),
        kv_token_bytes=attention.kv_token_bytes,
    )


def _gguf_sizes(header: GgufHeader, width: int, context: int) -> Sizes:
    """The header keeps how many tokens the vocabulary has, in place of them."""
    tokens = header.fields.get("tokenizer.ggml.tokens")
    vocabulary = tokens if isinstance(tokens, int) else 0
    return Sizes(vocabulary, max(header.integer("feed_forward_length") or 0, width), context)


def _gguf_attention(header: GgufHeader, layers: int, width: int) -> Attention:
    heads = header.integer("attention.head_count") or 1
    return Attention(
        layers,
        header.integer("attention.head_count_kv") or heads,
        header.integer("attention.key_length") or width // heads,
    )


# --- folders ---------------------------------------------------------------------------------------------------------


def _inspect_folder(folder: Path) -> ModelSource:
    root = folder.resolve()
    names = {entry.name for entry in os.scandir(folder)}
    if "config.json" not in names:
        ggufs = sorted(name for name in names if name.endswith(".gguf"))
        hint = f"give one of its files: {ggufs[0]}" if ggufs else "it is not a model folder"
        raise ModelRefusedError(f"{folder} has no config.json; {hint}.")
    _refuse_what_is_not_data(root, folder)
    tokenizer = next((group for group in _TOKENIZERS if names.issuperset(group)), None)
    if tokenizer is None:
        raise ModelRefusedError(f"{folder} has no tokenizer (tokenizer.json); add the file that belongs to the model.")
    settings = [_plain(root, folder, name) for name in _SETTINGS if name in names]
    for file in settings:
        if file.path != "modules.json":
            _refuse_remote_code(folder / file.path, file.source)
    shape = read_shape(folder)
    taken = settings + [_plain(root, folder, name) for name in shape.module_files]
    taken += [
        _plain(root, folder, name, _MAX_TOKENIZER)
        for name in sorted({n for group in _TOKENIZERS for n in group} & names)
    ]
    if _TEMPLATE in names:
        taken.append(_plain(root, folder, _TEMPLATE, _MAX_TEMPLATE))
    for file in taken:
        _refuse_pickled_content(folder / file.path, file.source)
    weights = [_plain(root, folder, name) for name in _weight_names(folder, names)]
    held = sum((_checked_weights(folder / file.path, file.source) for file in weights), Weights(0, 0))
    if _INDEX in names:
        taken.append(_plain(root, folder, _INDEX))
    return _source(shape, held, tuple(taken + weights))


def _source(shape: ModelShape, weights: Weights, files: tuple[SourceFile, ...]) -> ModelSource:
    return ModelSource(
        kind=shape.kind,
        engine="torch",
        format="safetensors",
        context_length=shape.context_length,
        width=shape.width,
        memory_bytes=chat_bytes(weights, shape.attention, shape.sizes)
        if shape.kind is ModelKind.CHAT
        else embedding_bytes(weights, shape.sizes),
        files=files,
        kv_token_bytes=shape.attention.kv_token_bytes if shape.attention is not None else 0,
    )


def _refuse_what_is_not_data(root: Path, folder: Path) -> None:
    """Every file, taken or not: nothing below opens a file that this has not looked at."""
    for entry in _entries(folder):
        _within(root, entry)
        suffix = entry.suffix.lower()
        if suffix in _CODE:
            raise ModelRefusedError(
                f"{entry} is code that comes with the model, which is never run here: use a model whose class is built "
                "in, or remove the file if it does not need it."
            )
        if suffix in _PICKLED:
            raise ModelRefusedError(_about_pickle(entry))


def _about_pickle(file: Path) -> str:
    return (
        f"{file} may hold pickled data, which can run code when it is loaded: only safetensors and GGUF weights are "
        "taken. Convert it, or remove it if the folder has model.safetensors too."
    )


def _entries(folder: Path) -> Iterator[Path]:
    """Every file in the folder and in those below it, but hidden and ignored folders."""
    count, waiting = 0, [folder]
    while waiting:
        for entry in sorted(os.scandir(waiting.pop()), key=lambda entry: entry.name):
            count += 1
            if count > _MAX_ENTRIES:
                raise ModelRefusedError(f"{folder} holds more than {_MAX_ENTRIES} files; it is not a model folder.")
            if not entry.is_dir(follow_symlinks=False):
                yield Path(entry.path)
            elif not entry.name.startswith(".") and entry.name not in _IGNORED_FOLDERS:
                waiting.append(Path(entry.path))


def _refuse_remote_code(shown: Path, file: Path) -> None:
    fields = read_fields(file, max_bytes=16 << 20)
    for name in ("auto_map", "custom_pipelines"):
        if _mentions(fields.values, name):
            raise ModelRefusedError(
                f"{shown} asks for code that comes with the model ({name}), which is never run here: use a model whose "
                f"class is built in, or remove {name} if it does not need it."
            )


def _mentions(value: object, name: str) -> bool:
    """Whether `name` is a key at any depth: parts of a model have configurations of their own."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Mapping):
            if name in part:
                return True
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)
    return False


def _weight_names(folder: Path, names: set[str]) -> list[str]:
    if _INDEX in names:
        index = read_fields(folder / _INDEX, max_bytes=16 << 20)
        table = index.table("weight_map")
        parts = sorted({str(name) for name in table.values.values()}) if table is not None else []
        if not parts or len(parts) > _MAX_WEIGHT_FILES:
            raise ModelRefusedError(f"{folder / _INDEX} does not name 1 to {_MAX_WEIGHT_FILES} weight files.")
        for part in parts:
            if not part.endswith(".safetensors") or part not in names:
                raise ModelRefusedError(f"{folder / _INDEX} names {part[:160]!r}, which is not a file of this folder.")
        return parts
    found = sorted(name for name in names if name.endswith(".safetensors"))
    if "model.safetensors" in found:
        return ["model.safetensors"]
    if len(found) != 1:
        what = "no model.safetensors" if not found else f"{len(found)} .safetensors files but no {_INDEX}"
        raise ModelRefusedError(f"{folder} has {what}; only safetensors and GGUF weights are taken.")
    return found


def _checked_weights(shown: Path, file: Path) -> Weights:
    start = _start(file)
    # The length that begins a real header may look like a pickle, but it fits into the file.
    if start.startswith(_PICKLE_STARTS) and int.from_bytes(start, "little") > file.stat().st_size:
        raise ModelRefusedError(_about_pickle(shown))
    return check_safetensors(file)


def _refuse_pickled_content(shown: Path, file: Path) -> None:
    if _start(file).startswith(_PICKLE_STARTS):
        raise ModelRefusedError(_about_pickle(shown))


def _start(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(8)


def _plain(root: Path, folder: Path, name: str, max_bytes: int | None = None) -> SourceFile:
    """A file that may be taken: plain, within the folder, with a name that every worker can keep."""
    shown = folder / name
    if not all(_PLAIN_NAME.fullmatch(part) for part in name.split("/")):
        raise ModelRefusedError(
            f"{shown!s:.200} has a name that cannot be kept: use up to 128 letters, digits, . _ and -."
        )
    source = _within(root, shown)
    status = source.stat()
    if max_bytes is not None and status.st_size > max_bytes:
        raise ModelRefusedError(f"{shown} has {status.st_size} bytes; such a file may have {max_bytes}.")
    return SourceFile(name, source, status.st_size)


def _within(root: Path, shown: Path) -> Path:
    """Where the plain file really lies."""
    source = shown.resolve()
    if not source.is_relative_to(root):
        raise ModelRefusedError(f"{shown} is a link that leaves the folder; copy the folder with its links followed.")
    if not stat.S_ISREG(source.stat().st_mode):
        raise ModelRefusedError(f"{shown} is not a plain file.")
    return source
