"""Small model folders and GGUF files, sound or evil, built byte by byte."""

import json
import struct
from collections.abc import Sequence
from pathlib import Path

CONFIG: dict[str, object] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}


def safetensors(header: object | None = None, data: bytes = b"\0" * 16) -> bytes:
    if header is None:
        header = {"w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def chat_folder(folder: Path, **config: object) -> Path:
    """A sound chat model; `config` overrides, None removes."""
    folder.mkdir(parents=True, exist_ok=True)
    merged = {name: value for name, value in {**CONFIG, **config}.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(merged))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(safetensors())
    return folder


def gguf_text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def gguf_field(key: str, value: int | str | list[str]) -> bytes:
    if isinstance(value, str):
        return gguf_text(key) + struct.pack("<I", 8) + gguf_text(value)
    if isinstance(value, int):
        return gguf_text(key) + struct.pack("<II", 4, value)
    return gguf_text(key) + struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(gguf_text, value))


GGUF_FIELDS: dict[str, int | str | list[str]] = {
    "general.architecture": "llama",
    "llama.context_length": 512,
    "llama.block_count": 2,
    "llama.embedding_length": 64,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.tokens": ["a", "b", "c"],
}


def gguf(
    fields: dict[str, int | str | list[str]] | None = None,
    tensors: Sequence[tuple[str, tuple[int, ...], int, int]] = (("w", (32, 2), 0, 0),),
    data: bytes = b"\0" * 512,
    version: int = 3,
) -> bytes:
    """Tensors are (name, dimensions, type, offset)."""
    fields = GGUF_FIELDS if fields is None else fields
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(fields))
    head += b"".join(gguf_field(key, value) for key, value in fields.items())
    for name, dimensions, kind, offset in tensors:
        head += gguf_text(name) + struct.pack("<I", len(dimensions)) + struct.pack(f"<{len(dimensions)}Q", *dimensions)
        head += struct.pack("<IQ", kind, offset)
    return head + b"\0" * (-len(head) % 32) + data
