"""GGUF to safetensors: what comes out serves, and holds nothing that the checks refuse."""

import json
from pathlib import Path

import pytest

from gogrid.protocol.worker_report import DeviceKind
from runner.errors import ModelError
from runner.executor.engines.registry import create
from runner.executor.messages import Load, LoadFailed
from runner.executor.model_checks import check_model
from runner.models.converted import check_converted
from tests.torch_models import convert, need_engine, smollm2

pytestmark = [pytest.mark.torch, pytest.mark.timeout(400)]


def test_conversion_leaves_an_ordinary_clean_folder() -> None:
    folder = smollm2()
    found = check_model(folder)
    assert (found.gguf, found.embedding, found.architecture) == (None, False, "LlamaForCausalLM")
    assert check_converted(folder, 300 << 20) > 250 << 20
    config = json.loads((folder / "config.json").read_text())
    assert "quantization_config" not in config
    assert config["dtype"] == "bfloat16"
    assert (folder / "chat_template.jinja").read_text().startswith("{%")
    assert json.loads((folder / "generation_config.json").read_text())["eos_token_id"] == 2


def test_tied_weights_are_written_once() -> None:
    from safetensors import safe_open

    with safe_open(smollm2() / "model.safetensors", framework="pt") as file:
        names = set(file.keys())
    assert "model.embed_tokens.weight" in names
    assert "lm_head.weight" not in names


def test_gguf_is_not_served_before_it_is_converted(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF" + bytes(20))
    load = Load(engine="torch", model_path=str(tmp_path), device=DeviceKind.CPU, threads=1, cap_bytes=1 << 30)
    with pytest.raises(ModelError, match="converted"):
        create(load, lambda stage, fraction: None)


def test_damaged_gguf_is_refused_in_one_line(tmp_path: Path) -> None:
    need_engine()
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    out.mkdir()
    (folder / "model.gguf").write_bytes(b"GGUF" + bytes(200))
    answer = convert(folder, out)
    assert isinstance(answer, LoadFailed)
    assert "\n" not in answer.message
    assert not list(out.iterdir())
