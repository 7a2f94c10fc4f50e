"""Model folders that could run code, or lie about their sizes, are refused with the file named."""

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from gogrid.protocol.job_messages import FailCode
from runner.errors import ModelError
from runner.executor import model_checks
from runner.executor.model_checks import check_model


def safetensors(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(encoded) if length is None else length) + encoded + data


def tensor(begin: int, end: int) -> dict[str, object]:
    return {"dtype": "F32", "shape": [(end - begin) // 4], "data_offsets": [begin, end]}


GOOD = safetensors({"__metadata__": {"format": "pt"}, "a": tensor(0, 8), "b": tensor(8, 16)}, bytes(16))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    (tmp_path / "model.safetensors").write_bytes(GOOD)
    return tmp_path


def zipped(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, b"x")
    return buffer.getvalue()


def test_acceptable_folders_are_told_apart(folder: Path) -> None:
    assert not check_model(folder).embedding
    (folder / "modules.json").write_text("[]")
    assert check_model(folder).embedding


def test_gguf_alone_is_enough(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF" + bytes(20))
    assert check_model(tmp_path).gguf == "model.gguf"


EVIL: dict[str, tuple[str, bytes]] = {
    "pytorch pickle": ("pytorch_model.bin", pickle.dumps([1])),
    "pt file": ("weights.pt", b"anything"),
    "pickle under another name": ("vocab.txt", pickle.dumps([1], protocol=4)),
    "old pickle under another name": ("notes.md", pickle.dumps([1], protocol=2)),
    "zipped pickle under another name": ("merges.txt", zipped("archive/data.pkl")),
    "python code": ("modeling_evil.py", b"import os"),
    "python code deeper down": ("1_Pooling/evil.py", b"import os"),
    "native code": ("kernels.so", b"\x7fELF"),
    "numpy objects": ("embeddings.npy", b"\x93NUMPY"),
    "auto_map": ("tokenizer_config.json", b'{"auto_map": {"AutoTokenizer": ["evil.Tokenizer", null]}}'),
    "auto_map in a part": ("preprocessor_config.json", b'{"image": [{"auto_map": {}}]}'),
    "config that is no JSON": ("generation_config.json", b"{"),
    "two more GGUF magic": ("second.gguf", b"NOPE"),
    "header beyond the file": ("a.safetensors", safetensors({}, length=1 << 40)),
    "cut short": ("a.safetensors", b"\x08\0\0"),
    "not JSON": ("a.safetensors", safetensors(b"nonsense")),
    "not a list of tensors": ("a.safetensors", safetensors({"a": 3})),
    "offset beyond the file": ("a.safetensors", safetensors({"a": tensor(0, 64)}, bytes(8))),
    "negative span": ("a.safetensors", safetensors({"a": tensor(8, 0)}, bytes(8))),
    "overlapping tensors": ("a.safetensors", safetensors({"a": tensor(0, 8), "b": tensor(4, 12)}, bytes(12))),
    "deep JSON": ("a.safetensors", safetensors(b'{"a":' * 3000 + b"1" + b"}" * 3000)),
}


@pytest.mark.parametrize("case", EVIL)
def test_evil_folder_is_refused_with_the_file_named(folder: Path, case: str) -> None:
    name, content = EVIL[case]
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    with pytest.raises(ModelError, match=name) as refused:
        check_model(folder)
    assert refused.value.code is FailCode.MODEL_UNUSABLE
    assert "\n" not in str(refused.value)


def test_header_and_tensor_caps(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = folder / "model.safetensors"
    target.write_bytes(safetensors({f"t{number}": tensor(0, 0) for number in range(20)}))
    check_model(folder)
    monkeypatch.setattr(model_checks, "TENSOR_LIMIT", 19)
    with pytest.raises(ModelError, match="20 tensors; 19"):
        check_model(folder)
    monkeypatch.setattr(model_checks, "HEADER_LIMIT", 64)
    with pytest.raises(ModelError, match="64 are allowed"):
        check_model(folder)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "no weights"),
        (lambda folder: (folder / "config.json").unlink(), "no config.json"),
        (lambda folder: (folder / "config.json").write_text('{"architectures": ["ViTForImages"]}'), "ViTForImages"),
        (lambda folder: (folder / "config.json").write_text("[]"), "config.json"),
    ],
)
def test_incomplete_folder_is_refused_in_words(folder: Path, change: Callable[[Path], object], why: str) -> None:
    change(folder)
    with pytest.raises(ModelError, match=why):
        check_model(folder)


def test_absent_folder_and_two_ggufs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no folder"):
        check_model(tmp_path / "absent")
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(b"GGUF")
    with pytest.raises(ModelError, match="2 GGUF files"):
        check_model(tmp_path)
