"""Threats 13 and 14: evil models. Nothing of them runs, whoever looks: the coordinator, or an executor in its sandbox.

An executor has a folder to write to, as for a conversion, so that a payload that ran there could leave its marker.
"""

import time
from pathlib import Path

import pytest

from coordinator.errors import ModelRefusedError
from coordinator.models.folder import inspect_model
from gogrid.protocol.job_messages import FailCode
from runner.errors import ModelError
from runner.executor.model_checks import check_model
from runner.sandbox.base import Launcher
from tests.attack.evil_models import EVIL, sound
from tests.attack.executors import MARKERS_INSIDE, start_and_close

_ONLY_THE_COORDINATOR_SEES = {"tokenizer that is a link out of the folder"}
"""A worker makes its folders itself, out of verified bytes: no link comes that far."""
_SOON_S = 2.0


def _made(folder: Path, name: str, markers: str) -> Path:
    model = sound(folder / "model")
    EVIL[name](model, f"touch {markers}/marker")
    return model


@pytest.mark.parametrize("name", EVIL)
def test_the_coordinator_refuses_an_evil_model(tmp_path: Path, name: str) -> None:
    model = _made(tmp_path, name, str(tmp_path))
    with pytest.raises(ModelRefusedError) as refusal:
        inspect_model(model)
    assert str(refusal.value).isprintable()
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("name", [name for name in EVIL if name not in _ONLY_THE_COORDINATOR_SEES])
def test_the_worker_refuses_an_evil_model(tmp_path: Path, name: str) -> None:
    model = _made(tmp_path, name, str(tmp_path))
    with pytest.raises(ModelError) as refusal:
        check_model(model)
    assert refusal.value.code is FailCode.MODEL_UNUSABLE
    assert str(refusal.value).isprintable()
    assert not (tmp_path / "marker").exists()


def test_a_sound_model_is_taken(tmp_path: Path) -> None:
    """Else the refusals above would prove nothing."""
    assert inspect_model(sound(tmp_path)).engine == "torch"
    assert check_model(tmp_path).architecture == "LlamaForCausalLM"


@pytest.mark.sandbox
async def test_an_executor_that_is_given_evil_models_refuses_them_and_the_next_starts_at_once(
    launcher: Launcher, tmp_path: Path
) -> None:
    """As if the coordinator were the attacker: one of each sort, through the runner's own way of starting executors."""
    for number, name in enumerate(list(EVIL)[::4]):
        if name in _ONLY_THE_COORDINATOR_SEES:
            continue
        place = tmp_path / str(number)
        markers = place / "markers"
        markers.mkdir(parents=True)
        model = _made(place, name, MARKERS_INSIDE)
        with pytest.raises(ModelError) as refusal:
            await start_and_close(launcher, "torch", model, markers)
        assert refusal.value.code is FailCode.MODEL_UNUSABLE, name
        assert list(markers.iterdir()) == [], name
        began = time.monotonic()
        await start_and_close(launcher, "echo", model, markers)
        assert time.monotonic() - began < _SOON_S, name
