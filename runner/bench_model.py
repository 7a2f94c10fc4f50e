"""The model that `bench` measures with: a transformer of fixed shape, written in a second, the same on every machine.

Its numbers are made from a hash and mean nothing; its shape is that of a small Llama (37 million weights in bfloat16,
75 MB), so that a token costs what it costs in a real one: reading every weight once.
"""

import hashlib
import json
import struct
from pathlib import Path

VOCABULARY, WIDTH, INNER, LAYERS, HEADS, GROUPS, CONTEXT = 4096, 512, 1408, 12, 8, 4, 2048
_ONE = b"\x80\x3f"
"""1.0 in bfloat16, the low byte first."""
_BLOCK = 1 << 16
"""Numbers; what is longer repeats them."""
_LOW = bytes(number | 0x80 for number in range(256))
_HIGH = bytes(0x3C | (number & 0x80) for number in range(256))
"""Together ±2⁻⁶ to ±2⁻⁵: what trained weights are like in size."""


def write_bench_model(folder: Path) -> int:
    """Write a folder that the torch engine loads; returns the bytes of its weights. Raises `OSError`."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(_CONFIG), encoding="utf-8")
    (folder / "tokenizer.json").write_text(json.dumps(_tokenizer()), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(_TOKENIZER_CONFIG), encoding="utf-8")
    header: dict[str, object] = {}
    at = 0
    for name, shape in _shapes().items():
        size = 2 * _count(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    encoded = json.dumps(header).encode()
    block = _numbers()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(encoded)) + encoded)
        for shape in _shapes().values():
            count = _count(shape)
            file.write(_ONE * count if len(shape) == 1 else (block * (count // _BLOCK + 1))[: 2 * count])
    return at


def _numbers() -> bytes:
    data = hashlib.shake_256(b"gogrid bench").digest(2 * _BLOCK)
    block = bytearray(2 * _BLOCK)
    block[0::2] = data[0::2].translate(_LOW)
    block[1::2] = data[1::2].translate(_HIGH)
    return bytes(block)


def _count(shape: tuple[int, ...]) -> int:
    return shape[0] * shape[1] if len(shape) == 2 else shape[0]


def _shapes() -> dict[str, tuple[int, ...]]:
    narrow = WIDTH * GROUPS // HEADS
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (VOCABULARY, WIDTH),
        "model.norm.weight": (WIDTH,),
    }
    for layer in range(LAYERS):
        at = f"model.layers.{layer}"
        shapes |= {
            f"{at}.self_attn.q_proj.weight": (WIDTH, WIDTH),
            f"{at}.self_attn.k_proj.weight": (narrow, WIDTH),
            f"{at}.self_attn.v_proj.weight": (narrow, WIDTH),
            f"{at}.self_attn.o_proj.weight": (WIDTH, WIDTH),
            f"{at}.mlp.gate_proj.weight": (INNER, WIDTH),
            f"{at}.mlp.up_proj.weight": (INNER, WIDTH),
            f"{at}.mlp.down_proj.weight": (WIDTH, INNER),
            f"{at}.input_layernorm.weight": (WIDTH,),
            f"{at}.post_attention_layernorm.weight": (WIDTH,),
        }
    return shapes


_CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": WIDTH,
    "intermediate_size": INNER,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": GROUPS,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": CONTEXT,
    "tie_word_embeddings": True,
    "rms_norm_eps": 1e-6,
    "torch_dtype": "bfloat16",
    "bos_token_id": 0,
    "eos_token_id": None,
}
_TOKENIZER_CONFIG = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "unk_token": "t0",
    "bos_token": "t0",
    "model_max_length": CONTEXT,
}


def _tokenizer() -> dict[str, object]:
    vocabulary = {f"t{number}": number for number in range(VOCABULARY)}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "added_tokens": [],
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "t0"},
    }
