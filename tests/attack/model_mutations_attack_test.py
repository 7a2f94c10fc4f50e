"""Threat 14: 10,000 mutated model files. Each is taken or refused in one line; nothing runs, hangs or swells."""

import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from coordinator.errors import ModelRefusedError
from coordinator.models.config import read_shape
from coordinator.models.folder import inspect_model
from coordinator.models.safetensors_header import check_safetensors as coordinator_looks
from runner.errors import ModelError
from runner.executor.model_checks import check_model
from runner.executor.model_checks import check_safetensors as worker_looks
from runner.sandbox.base import Launcher
from tests.attack.evil_models import CONFIG, safetensors, sound, weights
from tests.attack.executors import start_and_close

_OF_EACH = 5000
_SANDBOXED = 24
_SLOWEST_S = 1.0
_SOON_S = 2.0
_PIECES = [
    b'"data_offsets":[0,18446744073709551615]', b'"shape":[-1]', b'"shape":[9223372036854775807,2]',
    b'"dtype":"OBJECT"', b'"__metadata__":{"format":"pt"}', b"1e999", b"-0", b"NaN", b"Infinity", b"null", b"[[[[[[[[",
    b'{"a":' * 64, b"\\ud800", b"\x00", b"\xff\xfe", b'"auto_map":{"AutoConfig":"evil.Evil"}', b'"architectures":[]',
    b'"hidden_size":1e400', b'"num_hidden_layers":-5', b'"max_position_embeddings":99999999999999999999', b"true",
    b'""', b"\x80\x04", b"PK\x03\x04",
]  # fmt: skip


def mutated(sound_bytes: bytes, chance: random.Random) -> bytes:
    """One to four changes: bytes flipped, removed, doubled, cut off, or a piece that attacks parsers put in."""
    data = bytearray(sound_bytes)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(7):
            case 0 if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                del data[at : at + chance.randint(1, 32)]
            case 2:
                data[at:at] = chance.choice(_PIECES)
            case 3:
                data[at:at] = data[at : at + chance.randint(1, 64)]
            case 4:
                del data[at:]
            case 5:
                data[at : at + 8] = chance.randbytes(8)
            case _:
                digits = [place for place, byte in enumerate(data[:2048]) if 48 <= byte < 58]
                if digits:
                    data[chance.choice(digits)] = 48 + chance.randrange(10)
        if not data:
            break
    return bytes(data)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where that can be, because it is written to 10,000 times. Its template would leave a marker."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as place:
        escape = f"{{{{ cycler.__init__.__globals__.os.system('touch {place}/marker') }}}}"
        yield sound(Path(place) / "model", escape)


def test_5000_mutated_safetensors_files_are_taken_or_refused(folder: Path) -> None:
    safe_open = pytest.importorskip("safetensors").safe_open
    small = safetensors({"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
                         "b": {"dtype": "I8", "shape": [4], "data_offsets": [16, 20]}}, bytes(20))  # fmt: skip
    target, taken = folder / "model.safetensors", 0
    for data in _mutations(seed=1, of=(small, small, small, weights())):
        target.write_bytes(data)
        by_coordinator = _takes(lambda: coordinator_looks(target), ModelRefusedError)
        by_worker = _takes(lambda: worker_looks(target, "model.safetensors"), ModelError)
        assert by_worker or not by_coordinator, f"a sound file is refused by the worker: {data!r}"
        if by_coordinator:
            taken += 1
            with safe_open(target, "np") as opened:
                assert {name: opened.get_tensor(name).nbytes for name in opened.keys()}  # noqa: SIM118 - no mapping
    assert 0 < taken < _OF_EACH
    _nothing_ran(folder)


def test_5000_mutated_configurations_are_taken_or_refused(folder: Path) -> None:
    modules = [{"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"},
               {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]  # fmt: skip
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    files = {
        "config.json": json.dumps({**CONFIG, "text_config": dict(CONFIG)}).encode(),
        "tokenizer_config.json": (folder / "tokenizer_config.json").read_bytes(),
        "modules.json": (folder / "modules.json").read_bytes(),
        "1_Pooling/config.json": b'{"word_embedding_dimension": 48, "pooling_mode_mean_tokens": true}',
        "generation_config.json": b'{"eos_token_id": [0, 1], "temperature": 0.7}',
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    taken = 0
    for number, data in enumerate(_mutations(seed=2, of=tuple(files.values()))):
        name = list(files)[number % len(files)]
        (folder / name).write_bytes(data)
        taken += _takes(lambda: inspect_model(folder), ModelRefusedError)
        _takes(lambda: read_shape(folder), ModelRefusedError)
        _takes(lambda: check_model(folder), ModelError)
        (folder / name).write_bytes(files[name])
    assert 0 < taken < _OF_EACH
    _nothing_ran(folder)


@pytest.mark.sandbox
async def test_mutated_models_in_a_real_executor_leave_the_runner_alive(launcher: Launcher, tmp_path: Path) -> None:
    """Those that are refused before torch is asked; after each, the next executor is there at once."""
    chance = random.Random(3)
    files = ("model.safetensors", "config.json", "tokenizer_config.json")
    markers = tmp_path / "markers"
    markers.mkdir()
    tried = 0
    while tried < _SANDBOXED:
        model = sound(tmp_path / "model")
        target = model / files[tried % len(files)]
        target.write_bytes(mutated(target.read_bytes(), chance))
        if _takes(partial(check_model, model), ModelError):
            continue
        tried += 1
        with pytest.raises(ModelError):
            await start_and_close(launcher, "torch", model, markers)
        began = time.monotonic()
        await start_and_close(launcher, "echo", model, markers)
        assert time.monotonic() - began < _SOON_S
    assert list(markers.iterdir()) == []


def _mutations(seed: int, of: tuple[bytes, ...]) -> Iterator[bytes]:
    """As many as are promised, of each in turn; fails if memory doubles on the way."""
    chance, process = random.Random(seed), psutil.Process()
    before = process.memory_info().rss
    for number in range(_OF_EACH):
        yield mutated(of[number % len(of)], chance)
        if number % 500 == 0:
            assert process.memory_info().rss < 2 * before + (64 << 20)


def _takes(look: Callable[[], object], refusal: type[Exception]) -> bool:
    """Whether it is taken; anything but the one refusal fails, and so does a look that takes long or many words."""
    began, refused = time.monotonic(), ""
    try:
        look()
    except refusal as error:
        refused = str(error)
    assert len(refused.splitlines()) <= 1, refused
    assert time.monotonic() - began < _SLOWEST_S
    return not refused


def _nothing_ran(folder: Path) -> None:
    assert not (folder.parent / "marker").exists()
