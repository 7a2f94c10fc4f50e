"""Sampling: chance that depends on (seed, position) alone, and OpenAI's meaning of every parameter."""

import pytest

torch = pytest.importorskip("torch")

from gogrid.protocol.tasks import Sampling  # noqa: E402
from runner.executor.engines.sampling import Choice, Row, choose, gumbel  # noqa: E402

pytestmark = pytest.mark.torch
VOCABULARY = 2000


def logits(rows: int = 1, seed: int = 0) -> "torch.Tensor":
    return torch.randn(rows, VOCABULARY, generator=torch.Generator().manual_seed(seed)) * 3


def row(position: int = 0, counts: dict[int, int] | None = None, **sampling: object) -> Row:
    return Row(Sampling(**sampling), position, counts or {})  # type: ignore[arg-type]


def token(scores: "torch.Tensor", which: Row) -> int:
    (choice,) = choose(scores.clone(), [which])
    assert choice is not None
    return choice.token


def test_temperature_zero_takes_the_likeliest() -> None:
    scores = logits()
    assert token(scores, row(temperature=0.0)) == int(scores.argmax())


def test_draw_does_not_depend_on_who_else_is_in_the_batch() -> None:
    scores = logits(8)
    rows = [row(position=place, seed=place * 7, temperature=1.0, top_p=0.9 if place % 2 else 1.0) for place in range(8)]
    together = [choice.token for choice in choose(scores.clone(), rows) if choice]
    assert together == [token(scores[place : place + 1], rows[place]) for place in range(8)]


def test_seed_and_position_both_matter_and_nothing_else() -> None:
    scores = logits()
    drawn = {(seed, at): token(scores, row(at, seed=seed)) for seed in range(12) for at in range(12)}
    assert len(set(drawn.values())) > 20
    assert drawn == {(seed, at): token(scores, row(at, seed=seed)) for seed in range(12) for at in range(12)}
    assert token(scores, row(seed=-5)) == token(scores, row(seed=-5))
    assert token(scores, row(seed=2**63 - 1)) >= 0


@pytest.mark.parametrize("temperature", [0.7, 1.0, 2.0])
def test_draws_follow_the_softmax(temperature: float) -> None:
    scores = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
    draws = 20_000
    rows = [row(place, temperature=temperature, seed=42) for place in range(draws)]
    chosen = choose(scores.repeat(draws, 1), rows)
    counts = torch.bincount(torch.tensor([choice.token for choice in chosen if choice]), minlength=4)
    expected = torch.softmax(scores[0] / temperature, dim=0)
    assert torch.allclose(counts / draws, expected, atol=0.015)


def test_top_p_keeps_the_smallest_set_that_reaches_it() -> None:
    scores = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]]))
    drawn = {token(scores, row(at, top_p=0.75)) for at in range(300)}
    assert drawn == {0, 1}
    assert {token(scores, row(at, top_p=0.0)) for at in range(50)} == {0}


def test_top_p_over_a_flat_vocabulary_looks_at_all_of_it() -> None:
    flat = torch.zeros(1, VOCABULARY)
    drawn = {token(flat, row(at, top_p=0.9)) for at in range(400)}
    assert len(drawn) > 300


def test_penalties_count_what_was_said() -> None:
    scores = torch.tensor([[5.0, 4.0, 3.0]])
    greedy = {"temperature": 0.0}
    assert token(scores, row(counts={0: 3}, **greedy, frequency_penalty=0.2)) == 0
    assert token(scores, row(counts={0: 3}, **greedy, frequency_penalty=0.5)) == 1
    assert token(scores, row(counts={0: 1, 1: 1}, **greedy, presence_penalty=2.5)) == 2
    assert token(scores, row(counts={2: 9}, **greedy, presence_penalty=-2.5)) == 2


def test_logprobs_are_the_models_own() -> None:
    scores = logits()
    (choice,) = choose(scores.clone(), [row(temperature=2.0, presence_penalty=1.0, counts={5: 1}, logprobs=5)])
    expected = torch.log_softmax(scores[0], dim=0)
    assert isinstance(choice, Choice)
    assert choice.logprob == pytest.approx(float(expected[choice.token]))
    assert [number for number, _ in choice.top] == expected.topk(5).indices.tolist()
    assert float(expected.exp().sum()) == pytest.approx(1.0, abs=1e-4)


def test_numbers_that_are_none_give_no_token_and_spare_the_others() -> None:
    scores = logits(3)
    scores[1, 7] = float("nan")
    choices = choose(scores.clone(), [row(seed=place) for place in range(3)])
    assert choices[1] is None
    assert choices[0] == choose(scores[:1].clone(), [row(seed=0)])[0]
    scores[2] = float("-inf")
    assert choose(scores, [row(), row(), row()])[2] is None


def test_noise_is_gumbel_and_finite_everywhere() -> None:
    noise = gumbel(1, 2, torch.arange(400_000, dtype=torch.int32))
    assert bool(torch.isfinite(noise).all())
    assert float(noise.mean()) == pytest.approx(0.5772, abs=0.01)
    assert float(noise.var()) == pytest.approx(1.6449, abs=0.03)


def test_noise_is_the_same_on_every_machine() -> None:
    """Fixed values: a worker with another release must go on with a stream that began on this one."""
    noise = gumbel(1234, 56, torch.tensor([0, 1, 49151], dtype=torch.int32))
    assert noise.tolist() == pytest.approx([-0.0069592, 1.0618720, -0.3778731], abs=1e-5)
