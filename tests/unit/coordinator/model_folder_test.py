"""Evil and broken models are refused with the file named; sound ones are taken with what they need and nothing else."""

import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordinator.errors import ModelRefusedError
from coordinator.models.folder import inspect_model
from coordinator.models.memory import RUNTIME_BYTES
from coordinator.records import ModelKind
from tests.fakes.model_folders import GGUF_FIELDS, chat_folder, gguf, safetensors


def refused(path: Path) -> str:
    with pytest.raises(ModelRefusedError) as caught:
        inspect_model(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- taken -----------------------------------------------------------------------------------------------------------


def test_a_chat_folder_is_taken_with_what_serving_needs(tmp_path: Path) -> None:
    folder = chat_folder(tmp_path / "m")
    for name in ("README.md", "logo.png", ".gitattributes", "generation_config.json", "chat_template.jinja"):
        (folder / name).write_text("{}")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_text("x")
    source = inspect_model(folder)
    assert (source.kind, source.format, source.context_length, source.width) == (ModelKind.CHAT, "safetensors", 128, 0)
    assert sorted(file.path for file in source.files) == [
        "chat_template.jinja", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
    ]  # fmt: skip
    kv = 2 * 2 * 2 * 16 * 2 * 128
    work = (64 * 0 + 2048 * 4 * 64) * 16
    assert source.memory_bytes == 4 * 2 + 16 + kv + work + RUNTIME_BYTES
    assert source.kv_token_bytes == 2 * 2 * 2 * 16 * 2


def test_an_embedding_folder_is_known_by_its_modules(tmp_path: Path) -> None:
    folder = chat_folder(tmp_path / "m", architectures=["BertModel"], max_position_embeddings=512)
    modules = [
        {"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"word_embedding_dimension": 48}')
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 256}')
    source = inspect_model(folder)
    assert (source.kind, source.context_length, source.width) == (ModelKind.EMBEDDING, 256, 48)
    assert {"modules.json", "1_Pooling/config.json"} <= {file.path for file in source.files}


def test_sharded_weights_are_taken_by_their_index(tmp_path: Path) -> None:
    folder = chat_folder(tmp_path / "m")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"w": "model-00001-of-00001.safetensors"}}')
    assert "model-00001-of-00001.safetensors" in {file.path for file in inspect_model(folder).files}
    index.write_text('{"weight_map": {"w": "../../etc/passwd.safetensors"}}')
    assert "passwd" in refused(folder)


def test_a_gguf_file_is_taken_by_its_header(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(gguf())
    source = inspect_model(tmp_path / "m.gguf")
    assert (source.format, source.context_length, [file.path for file in source.files]) == ("gguf", 512, ["m.gguf"])
    work = (64 * 3 + 2048 * 64) * 16
    assert source.memory_bytes == 128 + 2 * 2 * 2 * 16 * 2 * 512 + work + RUNTIME_BYTES


def test_a_link_within_the_folder_is_followed(tmp_path: Path) -> None:
    folder = chat_folder(tmp_path / "m")
    (folder / "tokenizer.json").rename(folder / "real.json")
    (folder / "tokenizer.json").symlink_to("real.json")
    assert "tokenizer.json" in {file.path for file in inspect_model(folder).files}


# --- code and pickle -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "m.pt", "m.pth", "m.pkl", "m.ckpt", "PYTORCH_MODEL.BIN", "2_Dense/pytorch_model.bin"]
)
def test_pickle_weights_are_refused_by_name(tmp_path: Path, name: str) -> None:
    folder = chat_folder(tmp_path / "m")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"whatever")
    assert name in refused(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "vocab.txt"])
@pytest.mark.parametrize("content", [pickle.dumps({"a": 1}, protocol=4), b"PK\x03\x04" + b"x" * 40])
def test_pickle_under_another_name_is_refused_by_content(tmp_path: Path, name: str, content: bytes) -> None:
    folder = chat_folder(tmp_path / "m")
    (folder / name).write_bytes(content)
    message = refused(folder)
    assert name in message
    assert "pickle" in message


@pytest.mark.parametrize("name", ["modeling_evil.py", "sub/tokenization.py", "native.so"])
def test_code_that_comes_with_a_model_is_refused(tmp_path: Path, name: str) -> None:
    folder = chat_folder(tmp_path / "m")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(f"open({str(tmp_path / 'marker')!r}, 'w')")
    assert name in refused(folder)
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "generation_config.json"])
def test_auto_map_is_refused_wherever_it_stands(tmp_path: Path, name: str) -> None:
    folder = chat_folder(tmp_path / "m")
    path = folder / name
    values = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**values, "auto_map": {"AutoModelForCausalLM": "modeling_evil.Evil"}}))
    message = refused(folder)
    assert name in message
    assert "auto_map" in message


def test_a_class_that_is_not_built_in_is_refused(tmp_path: Path) -> None:
    assert "EvilForCausalLM" in refused(chat_folder(tmp_path / "m", architectures=["EvilForCausalLM"]))


@pytest.mark.parametrize("kind", ["evil.Transformer", "sentence_transformers.models.Dense", ""])
def test_a_pooling_module_that_is_not_built_in_is_refused(tmp_path: Path, kind: str) -> None:
    folder = chat_folder(tmp_path / "m", architectures=["BertModel"])
    (folder / "modules.json").write_text(json.dumps([{"path": "", "type": kind}]))
    assert "modules.json" in refused(folder)


def test_a_pooling_path_cannot_leave_the_folder(tmp_path: Path) -> None:
    folder = chat_folder(tmp_path / "m", architectures=["BertModel"])
    (tmp_path / "config.json").write_text("{}")
    (folder / "modules.json").write_text(json.dumps([{"path": "..", "type": "sentence_transformers.models.Pooling"}]))
    assert "'..'" in refused(folder)


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tokenizer.json", "model.safetensors", "config.json"])
def test_a_link_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    folder = chat_folder(tmp_path / "m")
    (folder / name).rename(tmp_path / name)
    (folder / name).symlink_to(tmp_path / name)
    message = refused(folder)
    assert name in message
    assert "leaves the folder" in message


@pytest.mark.skipif(os.name != "posix", reason="needs FIFOs")
@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "name",
    ["tokenizer.json", "model.safetensors", "config.json", "model.safetensors.index.json", "1_Pooling/config.json"],
)
def test_what_is_no_plain_file_is_refused_without_reading_it(tmp_path: Path, name: str) -> None:
    folder = chat_folder(tmp_path / "m")
    (folder / name).unlink(missing_ok=True)
    (folder / name).parent.mkdir(exist_ok=True)
    os.mkfifo(folder / name)
    assert name in refused(folder)


@pytest.mark.parametrize("name", ["a b.safetensors", "-x.safetensors", "x" * 130 + ".safetensors", "ü.safetensors"])
def test_an_odd_or_too_long_name_is_refused(tmp_path: Path, name: str) -> None:
    folder = chat_folder(tmp_path / "m")
    (folder / "model.safetensors").rename(folder / name)
    assert "name" in refused(folder)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer"),
        (lambda folder: (folder / "config.json").unlink(), "config.json"),
        (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors"),
        (lambda folder: (folder / "config.json").write_text("[]"), "config.json"),
        (lambda folder: (folder / "config.json").write_text("[" * 100_000), "config.json"),
        (lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe\x00"), "config.json"),
        (lambda folder: (folder / "config.json").write_text('{"a": ' + "1" * 5000 + "}"), "config.json"),
        (lambda folder: (folder / "config.json").write_text(" " * (2 << 20)), "config.json"),
        (lambda folder: (folder / "chat_template.jinja").write_text("x" * 70_000), "chat_template.jinja"),
        (lambda folder: (folder / "b.safetensors").write_bytes(b"") and None, ""),
    ],
)
def test_a_broken_folder_is_refused_with_the_file_named(
    tmp_path: Path, change: Callable[[Path], object], named: str
) -> None:
    folder = chat_folder(tmp_path / "m")
    change(folder)
    if named:
        assert named in refused(folder)
    else:
        inspect_model(folder)


@pytest.mark.parametrize(
    "config",
    [
        {"max_position_embeddings": None}, {"max_position_embeddings": -5}, {"max_position_embeddings": "many"},
        {"hidden_size": None}, {"hidden_size": 1.5}, {"architectures": None}, {"architectures": "Llama"},
        {"architectures": [1]}, {"num_attention_heads": True},
    ],
)  # fmt: skip
def test_a_config_that_says_nonsense_is_refused_with_the_field_named(tmp_path: Path, config: dict[str, object]) -> None:
    message = refused(chat_folder(tmp_path / "m", **config))
    assert "config.json" in message
    assert next(iter(config)) in message


# --- headers ---------------------------------------------------------------------------------------------------------

_TENSOR = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x01\x02",
        struct.pack("<Q", 1 << 62) + b"{}",
        safetensors({"w": {**_TENSOR, "data_offsets": [0, 1600]}}),
        safetensors({"w": {**_TENSOR, "data_offsets": [8, 24]}}),
        safetensors({"w": {**_TENSOR, "data_offsets": [16, 0]}}),
        safetensors({"w": {**_TENSOR, "data_offsets": [-16, 0]}}),
        safetensors({"w": {**_TENSOR, "shape": [2, 3]}}),
        safetensors({"w": {**_TENSOR, "shape": "no"}}),
        safetensors({"w": {**_TENSOR, "dtype": "PICKLE"}}),
        safetensors({"w": _TENSOR, "v": _TENSOR}),
        safetensors({"w": _TENSOR}, b"\0" * 20),
        safetensors({"w": 5}),
        safetensors([]),
        safetensors(b'{"w": 1, "w": 2}'),
        safetensors(b"[" * 100_000),
    ],
)
def test_a_safetensors_header_that_lies_is_refused(tmp_path: Path, content: bytes) -> None:
    folder = chat_folder(tmp_path / "m")
    (folder / "model.safetensors").write_bytes(content)
    assert "model.safetensors" in refused(folder)


def test_a_safetensors_header_over_16_mib_is_not_even_read(tmp_path: Path) -> None:
    folder = chat_folder(tmp_path / "m")
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", 17 << 20))
        file.truncate(40 << 20)
    assert f"header of {17 << 20} bytes" in refused(folder)


def test_more_than_100_000_tensors_are_refused(tmp_path: Path) -> None:
    folder = chat_folder(tmp_path / "m")
    empty = {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}
    content = safetensors({f"w{number}": empty for number in range(100_001)}, b"")
    (folder / "model.safetensors").write_bytes(content)
    assert "100001 tensors" in refused(folder)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GGUF",
        b"nope" + gguf()[4:],
        gguf(version=1),
        gguf()[:200],
        gguf(data=b""),
        gguf(tensors=[("w", (1 << 39, 1 << 39), 0, 0)]),
        gguf(tensors=[("w", (32,), 0, 1 << 60)]),
        gguf(tensors=[("w", (32,), 4711, 0)]),
        gguf(tensors=[("w", (1,) * 9, 0, 0)]),
        gguf({name: value for name, value in GGUF_FIELDS.items() if name != "tokenizer.ggml.model"}),
        gguf({name: value for name, value in GGUF_FIELDS.items() if name != "llama.context_length"}),
        gguf({**GGUF_FIELDS, "split.count": 3}),
        gguf({**GGUF_FIELDS, "general.alignment": 0}),
        gguf({**GGUF_FIELDS, "llama.pooling_type": 1}),
        b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 1),
        b"GGUF" + struct.pack("<IQQ", 3, 1, 1 << 60),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1 << 62),
    ],
)
def test_a_gguf_header_that_lies_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.gguf").write_bytes(content)
    assert "m.gguf" in refused(tmp_path / "m.gguf")


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_a_gguf_file_with_any_bytes_changed_is_taken_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(gguf())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "m.gguf"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    said = ""
    try:
        inspect_model(path)
    except ModelRefusedError as error:
        said = str(error)
    assert not said or str(path) in said


def test_what_is_no_model_at_all_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"x")
    (tmp_path / "x.txt").write_bytes(b"x")
    assert "does not exist" in refused(tmp_path / "nothing")
    assert "pickle" in refused(tmp_path / "x.bin")
    assert "neither" in refused(tmp_path / "x.txt")
    assert "no config.json" in refused(tmp_path)
