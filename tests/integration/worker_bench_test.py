"""`bench` with the real engine in the real sandbox: it measures, keeps the result, and leaves nothing else."""

import sys
from pathlib import Path

import pytest

from gogrid.places import worker_places
from runner.bench import measure, rate
from runner.bench_model import write_bench_model
from runner.config import load_config
from runner.errors import RunnerError
from runner.executor.model_checks import check_model
from runner.probes.all import probe_machine
from runner.speed import load_speed, speed_file
from runner.survey import Survey
from tests.torch_models import need_engine


@pytest.mark.sandbox
@pytest.mark.skipif(sys.platform != "linux", reason="needs a sandbox, which Linux has")
async def test_a_machine_is_measured_and_only_the_result_is_left(tmp_path: Path) -> None:
    need_engine()
    places = worker_places(
        config=None, data=tmp_path / "w", environment={}, platform="linux", home=tmp_path, user=tmp_path.stat().st_uid
    )
    config = load_config(places, flags={"worker.device": "cpu", "worker.cpu_cores": "2"}, environment={})
    speed = await measure(config, places, seconds=0.8)
    assert speed.tokens_per_s > speed.stream_tokens_per_s > 1
    assert 1e8 < speed.memory_bandwidth < 1e13
    assert [path for path in places.data.rglob("*") if path.is_file()] == [speed_file(places)]
    assert [path.name for path in places.data.iterdir()] == ["state"]
    facts = Survey(probe_machine(), None, "not asked").facts(config)
    assert load_speed(places, facts) == speed
    speed_file(places).write_text("{")
    assert load_speed(places, facts) is None


def test_the_model_is_the_same_on_every_machine_and_acceptable(tmp_path: Path) -> None:
    sizes = [write_bench_model(tmp_path / name) for name in ("a", "b")]
    assert sizes == [74_998_784] * 2
    assert not check_model(tmp_path / "a").embedding
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_too_few_tokens_are_no_measurement() -> None:
    assert rate([(1.0, 5), (2.0, 10), (3.0, 10)]) == 10.0
    for made in ([], [(1.0, 5)], [(1.0, 5), (1.0, 5)]):
        with pytest.raises(RunnerError, match="try again when it is at rest"):
            rate(made)
