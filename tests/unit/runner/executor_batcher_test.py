"""The batcher against transformers' own `generate`, with small random models: same tokens, whatever the company."""

from collections.abc import Sequence

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from runner.errors import ModelError  # noqa: E402
from runner.executor.engines import ragged_attention  # noqa: E402
from runner.executor.engines.batcher import PAGE, Batcher, BatchLimits  # noqa: E402
from runner.executor.engines.fast_linear import PackedLinear, pack_model  # noqa: E402
from runner.executor.engines.steady_activation import steady_activations  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.timeout(300)]
SMALL = {
    "vocab_size": 101,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
    "initializer_range": 0.4,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": 0,
}
CONFIGS = {
    "grouped heads": lambda: transformers.LlamaConfig(**SMALL, num_key_value_heads=2),
    "one head each": lambda: transformers.LlamaConfig(**SMALL, num_key_value_heads=4, attention_bias=True),
    "normalised heads": lambda: transformers.Qwen3Config(**SMALL, num_key_value_heads=1, head_dim=16),
    "sliding window": lambda: transformers.MistralConfig(**SMALL, num_key_value_heads=2, sliding_window=24),
}


def small_model(name: str) -> "transformers.PreTrainedModel":
    torch.manual_seed(0)
    return transformers.AutoModelForCausalLM.from_config(CONFIGS[name](), dtype=torch.float32).eval()


def prompt(length: int, first: int = 1) -> list[int]:
    return [1 + (first + place * place * 7) % 100 for place in range(length)]


def expected(model: "transformers.PreTrainedModel", ids: Sequence[int], count: int) -> list[int]:
    with torch.inference_mode():
        found = model.generate(
            torch.tensor([ids]), max_new_tokens=count, do_sample=False, eos_token_id=None, pad_token_id=0
        )
    return found[0, len(ids) :].tolist()


def generated(batcher: Batcher, prompts: dict[int, list[int]], count: int, late: int = 0) -> dict[int, list[int]]:
    """Greedy answers of all; request number n joins after `late`·n turns."""
    answers: dict[int, list[int]] = {number: [] for number in prompts}
    joining = list(prompts.items())
    turns = 0
    while joining or batcher.busy:
        while joining and turns >= late * joining[0][0]:
            batcher.add(*joining.pop(0))
        turns += 1
        turn = batcher.forward()
        if turn is None:
            continue
        tokens = turn.logits.argmax(dim=-1).tolist() if turn.ready else []
        batcher.commit(tokens)
        for number, token in zip(turn.ready, tokens, strict=True):
            answers[number].append(token)
            if len(answers[number]) == count:
                batcher.drop(number)
    return answers


@pytest.mark.parametrize("name", CONFIGS)
def test_answers_are_those_of_each_request_alone(name: str) -> None:
    model = small_model(name)
    prompts = {number: prompt(length, number) for number, length in enumerate((3, 70, 1, 130, 30))}
    wanted = {number: expected(model, ids, 40) for number, ids in prompts.items()}
    batcher = Batcher(model, BatchLimits(slots=4, blocks=24, chunk=48))
    assert generated(batcher, prompts, 40) == wanted
    assert generated(batcher, prompts, 40, late=3) == wanted, "joining while others are under way"
    assert not batcher.busy


def test_requests_squeezed_out_of_the_cache_go_on_with_the_same_answer() -> None:
    model = small_model("grouped heads")
    prompts = {number: prompt(PAGE - 4, 10 * number) for number in range(5)}
    wanted = {number: expected(model, ids, 100) for number, ids in prompts.items()}
    batcher = Batcher(model, BatchLimits(slots=5, blocks=6, chunk=64))
    assert generated(batcher, prompts, 100) == wanted


def test_equal_prompts_share_their_blocks_and_stay_right() -> None:
    model = small_model("grouped heads")
    ids = prompt(3 * PAGE + 5)
    wanted = expected(model, ids, 20)
    batcher = Batcher(model, BatchLimits(slots=4, blocks=24, chunk=512))
    assert generated(batcher, {1: ids}, 20)[1] == wanted
    batcher.add(2, ids)
    turn = batcher.forward()
    assert turn is not None
    assert batcher._processor.inputs_and_outputs.num_q_tokens < PAGE, "most of the prompt was there already"
    batcher.commit(turn.logits.argmax(dim=-1).tolist())
    batcher.drop(2)
    assert generated(batcher, {3: ids, 4: ids}, 20) == {3: wanted, 4: wanted}


def test_dropping_one_in_the_middle_leaves_the_others_right() -> None:
    model = small_model("grouped heads")
    kept, gone = prompt(20, 1), prompt(90, 2)
    wanted = expected(model, kept, 20)
    batcher = Batcher(model, BatchLimits(slots=4, blocks=12, chunk=64))
    batcher.add(1, gone)
    batcher.add(2, kept)
    turn = batcher.forward()
    assert turn is not None
    batcher.commit(turn.logits.argmax(dim=-1).tolist())
    batcher.drop(1)
    batcher.drop(2)
    assert generated(batcher, {3: kept}, 20)[3] == wanted


def test_attention_that_is_more_than_a_softmax_is_refused() -> None:
    config = transformers.Gemma2Config(
        **SMALL, num_key_value_heads=2, head_dim=8, layer_types=["full_attention"] * 2, attn_logit_softcapping=5.0
    )
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with pytest.raises((ModelError, ValueError)):
        generated(Batcher(model, BatchLimits(slots=2, blocks=8, chunk=32)), {1: prompt(5)}, 2)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_packed_layers_compute_the_same(dtype: str) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(96, 160), torch.nn.Linear(160, 96, bias=False))
    model = model.to(getattr(torch, dtype)).eval()
    with torch.inference_mode():
        probes = [torch.randn(1, rows, 96).to(getattr(torch, dtype)) for rows in (1, 3, 16, 200)]
        before = [model(probe) for probe in probes]
        if pack_model(model) == 0:
            pytest.skip("this torch has no oneDNN for this format")
        assert all(isinstance(layer, PackedLinear) for layer in model)
        for probe, wanted in zip(probes, before, strict=True):
            assert torch.allclose(model(probe).float(), wanted.float(), atol=0.03, rtol=0.03)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_row_of_a_layer_has_the_same_bits_however_many_there_are(dtype: str) -> None:
    """The sums cancel, so that what is left is rounding, which another order of adding would change."""
    torch.manual_seed(0)
    width, kind = 1536, getattr(torch, dtype)
    order = torch.randperm(width)
    weight, values = torch.randn(96, width // 2), torch.randn(1, 200, width // 2)
    layer = torch.nn.Linear(width, 96, bias=False, dtype=kind)
    layer.weight.data.copy_(torch.cat([weight, weight], dim=1)[:, order])
    values = torch.cat([values, -values], dim=2)[..., order].to(kind)
    model = torch.nn.Sequential(layer).eval()
    with torch.inference_mode():
        if pack_model(model) == 0:
            pytest.skip("this torch has no oneDNN for this format")
        whole = model(values)
        assert 0 < whole.float().abs().max() < 1e-2
        for rows in (1, 2, 3, 16, 17, 100):
            assert torch.equal(model(values[:, 5 : 5 + rows].contiguous()), whole[:, 5 : 5 + rows]), rows


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("length", [5, 190, 192, 193, 230, 383, 384, 390, 511, 600, 720])
def test_keys_are_summed_in_the_same_order_whatever_follows_them(dtype: str, length: int) -> None:
    """The rows that `key_room` asks for: as few as here, or as many as a longer neighbour needs."""
    torch.manual_seed(0)
    kind = getattr(torch, dtype)
    pairs = torch.randn(1, 2, length // 2, 64)
    values = torch.zeros(1, 2, length, 64)
    values[:, :, : length // 2 * 2] = torch.cat([pairs, -pairs], dim=2)[:, :, torch.randperm(length // 2 * 2)]

    def attended(room: int, queries: int) -> "torch.Tensor":
        value = torch.zeros(1, 2, room, 64, dtype=kind)
        value[:, :, :length] = values.to(kind)
        seen = (torch.arange(room) < length).expand(1, 1, queries, room)
        none = torch.zeros_like(value)
        return torch.nn.functional.scaled_dot_product_attention(
            none[:, :, :1].expand(1, 2, queries, 64), none, value, seen
        )

    alone = attended(ragged_attention.key_room(length), 4)
    for longer in (length + 20, length + 150, 384, 512, 900, 1024):
        if longer > length:
            for queries in (4, 16, 64):
                among = attended(ragged_attention.key_room(longer), queries)
                assert torch.equal(among[:, :, :4], alone), (longer, queries)


@pytest.mark.parametrize("threads", [2, 5, 7, 8])
def test_an_activation_has_the_same_bits_however_many_rows_and_threads_there_are(threads: int) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.SiLU())
    values = torch.randn(256, 1536)
    expected = torch.cat([model(row) for row in values.split(1)])
    steady_activations(model)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        wrong = [rows for rows in range(1, 257) if not torch.equal(model(values[:rows]), expected[:rows])]
    finally:
        torch.set_num_threads(before)
    assert wrong == []


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_logits_have_the_same_bits_alone_in_company_and_in_one_go(dtype: str) -> None:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        **SMALL | {"hidden_size": 192, "num_attention_heads": 6, "intermediate_size": 1536}, num_key_value_heads=2
    )
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype)).eval()
    if pack_model(model) == 0:
        pytest.skip("this torch has no oneDNN for this format")
    ids, count = prompt(100), 120

    def logits(known: int, chunk: int, company: Sequence[int]) -> "list[torch.Tensor]":
        """Of every place from `known` on, fed with the same tokens."""
        model.set_attn_implementation("sdpa")
        batcher = Batcher(model, BatchLimits(slots=6, blocks=40, chunk=chunk))
        batcher.add(0, [*ids, *prompt(count)[:known]])
        for number, length in enumerate(company, 1):
            batcher.add(number, prompt(length, number))
        found: list[torch.Tensor] = []
        while len(found) < count - known:
            turn = batcher.forward()
            assert turn is not None
            tokens = [1] * len(turn.ready)
            if 0 in turn.ready:
                place = turn.ready.index(0)
                found.append(turn.logits[place].clone())
                tokens[place] = prompt(count)[known + len(found) - 1]
            batcher.commit(tokens)
        batcher.close()
        return found

    alone = logits(0, 256, ())
    assert all(map(torch.equal, logits(0, 70, (7, 300, 90, 1, 210)), alone))
    assert all(map(torch.equal, logits(110, 180, (30, 250)), alone[110:]))
