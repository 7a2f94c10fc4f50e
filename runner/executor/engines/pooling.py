"""How an embedding model makes one vector of many, by its own configuration files. Pure but for reading them.

The files are those of sentence-transformers: `modules.json`, `1_Pooling/config.json`, `sentence_bert_config.json`.
Without them: the mean of all tokens, normalised. Refuses, with `ModelError`, steps that are not served here.
"""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import msgspec

from gogrid.protocol.job_messages import FailCode
from runner.errors import ModelError


class Pool(Enum):
    MEAN = "mean"
    FIRST = "first"
    LAST = "last"


@dataclass(frozen=True, slots=True)
class Recipe:
    pool: Pool
    normalise: bool
    longest: int | None
    """Tokens, special ones included; None: the model's own limit."""


class _Module(msgspec.Struct):
    type: str
    path: str = ""


class _Pooling(msgspec.Struct):
    pooling_mode_cls_token: bool = False
    pooling_mode_mean_tokens: bool = False
    pooling_mode_lasttoken: bool = False
    pooling_mode_max_tokens: bool = False
    pooling_mode_mean_sqrt_len_tokens: bool = False
    pooling_mode_weightedmean_tokens: bool = False


class _Sentence(msgspec.Struct):
    max_seq_length: int | None = None


_POOLS = {
    "pooling_mode_cls_token": Pool.FIRST,
    "pooling_mode_mean_tokens": Pool.MEAN,
    "pooling_mode_lasttoken": Pool.LAST,
}
_KNOWN = ("Transformer", "Pooling", "Normalize")


def read_recipe(folder: Path) -> Recipe:
    """What to do with the model's output; raises `ModelError`."""
    try:
        return _read(folder)
    except (msgspec.DecodeError, UnicodeDecodeError, OSError) as error:
        raise _refuse(f"its sentence-transformers configuration cannot be read: {error}") from error


def _read(folder: Path) -> Recipe:
    longest = None
    if (folder / "sentence_bert_config.json").is_file():
        longest = msgspec.json.decode(
            (folder / "sentence_bert_config.json").read_bytes(), type=_Sentence
        ).max_seq_length
    if not (folder / "modules.json").is_file():
        return Recipe(Pool.MEAN, normalise=True, longest=longest)
    modules = msgspec.json.decode((folder / "modules.json").read_bytes(), type=tuple[_Module, ...])
    kinds = [module.type.rpartition(".")[2] for module in modules]
    for module, kind in zip(modules, kinds, strict=True):
        if kind not in _KNOWN or not module.type.startswith("sentence_transformers."):
            raise _refuse(f"modules.json asks for {module.type}; {', '.join(_KNOWN)} are served")
    if "Pooling" not in kinds:
        return Recipe(Pool.MEAN, normalise="Normalize" in kinds, longest=longest)
    where = folder / modules[kinds.index("Pooling")].path / "config.json"
    if folder.resolve() not in where.resolve().parents:
        raise _refuse(f"modules.json points outside the model's folder: {modules[kinds.index('Pooling')].path}")
    pooling = msgspec.json.decode(where.read_bytes(), type=_Pooling)
    asked = [name for name in pooling.__struct_fields__ if getattr(pooling, name)]
    if len(asked) != 1 or asked[0] not in _POOLS:
        raise _refuse(f"its pooling is {' with '.join(asked) or 'not set'}; one of {', '.join(_POOLS)} is served")
    return Recipe(_POOLS[asked[0]], normalise="Normalize" in kinds, longest=longest)


def _refuse(what: str) -> ModelError:
    return ModelError(f"This embedding model is refused: {what}.", FailCode.MODEL_UNUSABLE)
