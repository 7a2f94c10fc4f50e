"""What a model folder says about itself in `config.json` and its companions: kind, context, width, attention."""

import re
from dataclasses import dataclass
from pathlib import Path

from coordinator.errors import ModelRefusedError
from coordinator.models.architectures import CHAT, EMBEDDING
from coordinator.models.json_files import Fields, read_fields, read_json
from coordinator.models.memory import Attention, Sizes
from coordinator.records import ModelKind

_MODULES = frozenset({"Transformer", "Pooling", "Normalize"})
_MODULE_PATH = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,63}")
_LARGEST_CONTEXT = 1 << 24


@dataclass(frozen=True, slots=True)
class ModelShape:
    kind: ModelKind
    context_length: int
    width: int
    """Embedding width; 0 for chat models."""
    attention: Attention | None
    sizes: Sizes
    module_files: tuple[str, ...]
    """Configurations of pooling, relative to the folder."""


def read_shape(folder: Path) -> ModelShape:
    """Raises `ModelRefusedError`, naming the file and the field."""
    config = read_fields(folder / "config.json")
    modules = _module_files(folder)
    is_embedding = (folder / "modules.json").exists() or bool(modules)
    kind = _kind(config, is_embedding)
    text = config.table("text_config") or config
    width = text.integer("hidden_size", "n_embd", "d_model", "dim")
    if width is None:
        raise ModelRefusedError(f"{config.file} does not say hidden_size.")
    context = _chat_context(text) if kind is ModelKind.CHAT else _embedding_context(folder, text)
    sizes = Sizes(text.integer("vocab_size") or 0, _widest(text, width), context)
    if kind is ModelKind.CHAT:
        return ModelShape(kind, context, 0, _attention(text, width), sizes, modules)
    return ModelShape(kind, context, _embedding_width(folder, modules, width), None, sizes, modules)


def _widest(text: Fields, width: int) -> int:
    """Of a layer's activations, where a configuration says it; else four times the model's width, which is usual."""
    return max(text.integer("intermediate_size", "n_inner", "ffn_dim", "d_ff") or 4 * width, width)


def _kind(config: Fields, is_embedding: bool) -> ModelKind:
    named = config.texts("architectures")
    if not named:
        raise ModelRefusedError(f"{config.file} names no architectures, so its kind cannot be known.")
    for name in named:
        if is_embedding and (name in EMBEDDING or name in CHAT):
            return ModelKind.EMBEDDING
        if name in CHAT:
            return ModelKind.CHAT
        if name in EMBEDDING:
            return ModelKind.EMBEDDING
    raise ModelRefusedError(
        f"{config.file} names the architecture {named[0][:80]!r}, which is neither a chat nor an embedding model that "
        "is built in here."
    )


def _chat_context(text: Fields) -> int:
    context = text.integer("max_position_embeddings", "n_positions", "n_ctx", "seq_length", "max_seq_len")
    if context is None:
        raise ModelRefusedError(
            f"{text.file} does not say max_position_embeddings, so the context length is not known."
        )
    return min(context, _LARGEST_CONTEXT)


def _attention(text: Fields, width: int) -> Attention | None:
    layers = text.integer("num_hidden_layers", "n_layer", "num_layers")
    heads = text.integer("num_attention_heads", "n_head", "num_heads")
    if layers is None or heads is None:
        return None  # no attention: no KV cache grows with the context
    kv_heads = text.integer("num_key_value_heads", "num_kv_heads") or heads
    return Attention(layers, kv_heads, text.integer("head_dim") or max(1, width // heads))


def _embedding_context(folder: Path, text: Fields) -> int:
    limits = [text.integer("max_position_embeddings", "n_positions")]
    for name, field in (("sentence_bert_config.json", "max_seq_length"), ("tokenizer_config.json", "model_max_length")):
        if (folder / name).exists():
            value = read_fields(folder / name).values.get(field)
            usable = isinstance(value, int) and not isinstance(value, bool) and value > 0
            limits.append(int(value) if usable and isinstance(value, int) else None)
    known = [limit for limit in limits if limit is not None]
    if not known:
        raise ModelRefusedError(
            f"{text.file} does not say max_position_embeddings, so the context length is not known."
        )
    return min(*known, _LARGEST_CONTEXT)


def _embedding_width(folder: Path, modules: tuple[str, ...], hidden: int) -> int:
    for name in modules:
        width = read_fields(folder / name).integer("word_embedding_dimension", "embedding_dimension")
        if width is not None:
            return width
    return hidden


def _module_files(folder: Path) -> tuple[str, ...]:
    """`1_Pooling/config.json`: what `modules.json` names, or what lies there."""
    listing = folder / "modules.json"
    if not listing.exists():
        return ("1_Pooling/config.json",) if (folder / "1_Pooling" / "config.json").exists() else ()
    modules = read_json(listing)
    if not isinstance(modules, list) or len(modules) > 16:
        raise ModelRefusedError(f"{listing} must hold a list of modules.")
    files = []
    for module in modules:
        entry = Fields(listing, module) if isinstance(module, dict) else Fields(listing, {})
        kind, path = entry.text("type"), entry.text("path")
        if not kind.startswith("sentence_transformers.") or kind.rpartition(".")[2] not in _MODULES:
            raise ModelRefusedError(
                f"{listing} needs the module {kind[:80]!r}; only {', '.join(sorted(_MODULES))} are built in here."
            )
        if path and not _MODULE_PATH.fullmatch(path):
            raise ModelRefusedError(f"{listing} names the folder {path[:80]!r}, which is not a plain name.")
        if path and (folder / path / "config.json").exists():
            files.append(f"{path}/config.json")
    return tuple(files)
