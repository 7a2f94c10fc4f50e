"""The official `openai` client, unchanged, against the real app on a real server."""

import base64
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import openai
import pytest

from coordinator.errors import JobFailedError, KeyLimitError, NoWorkerError, QueueFullError
from gogrid.protocol.job_messages import Progress, Started, Tokens
from gogrid.protocol.tasks import ChatTask, CompletionTask, ResumeMode
from gogrid.protocol.worker_report import LoadStage
from tests.fakes.backend import CHAT, EMBED, USER, WIDTH, Backend, Script, Step, Task, serving

HELLO = [{"role": "user", "content": "hello big world"}]


@pytest.fixture
def backend(tmp_path: Path) -> Backend:
    return Backend(tmp_path)


@pytest.fixture
async def url(backend: Backend) -> AsyncIterator[str]:
    async with serving(backend) as address:
        yield address


@pytest.fixture
async def client(url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(api_key=USER, base_url=url + "/v1", max_retries=0) as opened:
        yield opened


async def test_models_are_listed_and_retrieved_also_with_a_slash_in_the_name(client):
    assert [model.id async for model in client.models.list()] == [CHAT, "org/chat-b", EMBED]
    assert (await client.models.retrieve("org/chat-b")).id == "org/chat-b"


async def test_unknown_model_is_a_404_named_model_not_found(client):
    with pytest.raises(openai.NotFoundError) as caught:
        await client.models.retrieve("nope")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.NotFoundError, match="no model 'nope'"):
        await client.chat.completions.create(model="nope", messages=HELLO)


async def test_chat_answers_whole_with_true_usage_and_finish_reason(client, backend):
    reply = await client.chat.completions.create(model=CHAT, messages=HELLO, max_completion_tokens=2, seed=7)
    assert reply.choices[0].message.content == "hello big"
    assert reply.choices[0].finish_reason == "length"
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.total_tokens) == (3, 2, 5)
    task = backend.requests.tickets[0].task
    assert isinstance(task, ChatTask)
    assert (task.sampling.max_tokens, task.sampling.seed) == (2, 7)


async def test_chat_streams_role_text_finish_and_usage_chunk(client):
    stream = await client.chat.completions.create(
        model=CHAT, messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == "hello big world"
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None] * 4 + ["stop"]
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == 6
    assert len({chunk.id for chunk in chunks}) == 1


async def test_raw_stream_ends_with_done_and_says_usage_null_before(url):
    body = {"model": CHAT, "messages": HELLO, "stream": True, "stream_options": {"include_usage": True}}
    async with httpx.AsyncClient(headers={"x-api-key": USER}) as http:
        reply = await http.post(url + "/v1/chat/completions", json=body)
    assert reply.headers["content-type"].startswith("text/event-stream")
    events = reply.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    assert all('"usage":null' in event for event in events[:-3])
    assert '"finish_reason":null' in events[0]


async def test_all_sampling_parameters_reach_the_task(client, backend):
    await client.chat.completions.create(
        model=CHAT,
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        ],
        temperature=0.5,
        top_p=0.25,
        stop=["x", "y"],
        seed=-3,
        frequency_penalty=-2,
        presence_penalty=2,
        logprobs=True,
        top_logprobs=3,
        max_tokens=9,
        response_format={"type": "text"},
        user="somebody",
        metadata={"a": "b"},
        store=True,
    )
    task = backend.requests.tickets[0].task
    assert isinstance(task, ChatTask)
    assert [message.content for message in task.messages] == ["Be brief.", "ab"]
    got = task.sampling
    assert (got.temperature, got.top_p, got.stop, got.max_tokens) == (0.5, 0.25, ("x", "y"), 9)
    assert (got.frequency_penalty, got.presence_penalty, got.logprobs) == (-2, 2, 3)
    assert 0 <= got.seed < 1 << 31


async def test_without_a_seed_two_requests_get_different_ones(client, backend):
    for _ in range(2):
        await client.chat.completions.create(model=CHAT, messages=HELLO)
    seeds = {ticket.task.sampling.seed for ticket in backend.requests.tickets}
    assert len(seeds) == 2
    assert all(0 <= seed < 1 << 31 for seed in seeds)


async def test_n_choices_are_n_tasks_and_the_prompt_is_counted_once(client, backend):
    reply = await client.chat.completions.create(model=CHAT, messages=HELLO, n=3, seed=5)
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (3, 9)
    assert [ticket.task.sampling.seed for ticket in backend.requests.tickets] == [5, 6, 7]


async def test_n_choices_stream_with_their_own_index_and_finish(client):
    stream = await client.chat.completions.create(model=CHAT, messages=HELLO, n=2, stream=True)
    texts, finished = ["", ""], []
    async for chunk in stream:
        choice = chunk.choices[0]
        texts[choice.index] += choice.delta.content or ""
        if choice.finish_reason:
            finished.append(choice.index)
    assert texts == ["hello big world"] * 2
    assert sorted(finished) == [0, 1]


async def test_logprobs_come_whole_and_streamed(client):
    whole = await client.chat.completions.create(model=CHAT, messages=HELLO, logprobs=True, top_logprobs=2)
    content = whole.choices[0].logprobs.content
    assert [token.token for token in content] == ["hello", " big", " world"]
    assert len(content[0].top_logprobs) == 2
    assert bytes(content[0].bytes) == b"hello"
    stream = await client.chat.completions.create(model=CHAT, messages=HELLO, logprobs=True, stream=True)
    streamed = [chunk.choices[0].logprobs.content[0].token async for chunk in stream if chunk.choices[0].logprobs]
    assert streamed == ["hello", " big", " world"]


async def test_completions_take_texts_token_ids_and_lists(client, backend):
    reply = await client.completions.create(model=CHAT, prompt=["a b", "c"], n=2, logprobs=1, echo=True)
    assert [choice.text for choice in reply.choices] == ["a b", "a b", "c", "c"]
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (3, 6)
    assert reply.choices[0].logprobs.text_offset == [0, 1]
    task = backend.requests.tickets[0].task
    assert isinstance(task, CompletionTask)
    assert task.echo
    assert task.sampling.max_tokens == 16
    reply = await client.completions.create(model=CHAT, prompt=[5, 6])
    assert reply.choices[0].text == "t5 t6"
    stream = await client.completions.create(model=CHAT, prompt="x y", stream=True)
    assert "".join([chunk.choices[0].text async for chunk in stream]) == "x y"


async def test_embeddings_are_float32_in_input_order_in_both_encodings(client, url):
    reply = await client.embeddings.create(model=EMBED, input=["a", "bb", "ccc"])
    assert [item.embedding[0] for item in reply.data] == [1.0, 2.0, 3.0]
    assert (reply.usage.prompt_tokens, reply.usage.total_tokens) == (6, 6)
    floats = await client.embeddings.create(model=EMBED, input="dddd", encoding_format="float", dimensions=WIDTH)
    assert floats.data[0].embedding == [4.0, 0.5, -1.0, pytest.approx(0.1)]
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {USER}"}) as http:
        body = {"model": EMBED, "input": [[7, 8], [9]], "encoding_format": "base64"}
        raw = (await http.post(url + "/v1/embeddings", json=body)).json()
    assert struct.unpack("<4f", base64.b64decode(raw["data"][0]["embedding"]))[0] == 2.0


async def test_dimensions_that_the_model_cannot_make_are_refused_clearly(client):
    with pytest.raises(openai.BadRequestError, match="makes 4 dimensions and cannot make 2") as caught:
        await client.embeddings.create(model=EMBED, input="x", dimensions=2)
    assert caught.value.param == "dimensions"


@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
         "messages[0].content[0].type"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"temperature": 2.5}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"n": 9}, "n"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1, "max_completion_tokens": 2}, "max_tokens"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"top_logprobs": 1}, "top_logprobs"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"presence_penalty": 3}, "presence_penalty"),
        ({"top_k": 5}, "top_k"),
        ({"model": EMBED}, "model"),
        ({"messages": []}, "messages"),
    ],
)  # fmt: skip
async def test_what_cannot_be_obeyed_is_a_400_that_names_the_parameter(client, backend, extra, param):
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(**{"model": CHAT, "messages": HELLO}, extra_body=extra)
    assert caught.value.param == param
    assert "\n" not in caught.value.body["message"]
    assert backend.requests.tickets == []


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("failure", "expected", "code"),
    [
        (JobFailedError("Too long.", "context_length_exceeded", "messages"), openai.BadRequestError,
         "context_length_exceeded"),
        (JobFailedError("It died.", "crashed"), openai.InternalServerError, "crashed"),
        (JobFailedError("Nobody took it over.", "worker_lost"), openai.InternalServerError, "worker_lost"),
        (NoWorkerError("worker one: paused by its owner", 7), openai.InternalServerError, "no_worker"),
    ],
)  # fmt: skip
async def test_a_failure_before_the_answer_begins_has_its_true_status(client, backend, stream, failure, expected, code):
    loading = Progress(stage=LoadStage.LOADING, fraction=0.5)
    backend.requests.script = lambda _task, _number: [loading, 0.01, failure]
    with pytest.raises(expected) as caught:
        await client.chat.completions.create(model=CHAT, messages=HELLO, stream=stream)
    assert caught.value.code == code
    assert caught.value.response.headers["x-request-id"].startswith("req_")


async def test_a_keys_own_limit_is_a_429_and_what_is_nobodys_fault_a_503_all_with_retry_after(client, backend):
    backend.requests.refusal = KeyLimitError("This key has 64 requests open.", 3)
    with pytest.raises(openai.RateLimitError) as own:
        await client.chat.completions.create(model=CHAT, messages=HELLO)
    assert (own.value.code, own.value.response.headers["retry-after"]) == ("key_limit", "3")
    backend.requests.refusal = QueueFullError("100 requests wait already.", 4)
    with pytest.raises(openai.InternalServerError) as full:
        await client.chat.completions.create(model=CHAT, messages=HELLO)
    assert (full.value.status_code, full.value.code) == (503, "queue_full")
    assert full.value.response.headers["retry-after"] == "4"
    backend.requests.refusal = NoWorkerError("No worker can serve it: one: paused by its owner.", 7)
    with pytest.raises(openai.InternalServerError, match="paused by its owner") as none:
        await client.chat.completions.create(model=CHAT, messages=HELLO)
    assert (none.value.status_code, none.value.response.headers["retry-after"]) == (503, "7")


async def test_when_one_of_n_is_refused_the_others_are_cancelled(client, backend):
    backend.requests.refusal = KeyLimitError("Full.", 3)
    backend.requests.refuse_after = 2
    with pytest.raises(openai.RateLimitError):
        await client.chat.completions.create(model=CHAT, messages=HELLO, n=3)
    assert [ticket.cancelled.is_set() for ticket in backend.requests.tickets] == [True, True]


def _breaking(failure: JobFailedError) -> Script:
    def script(_task: Task, _number: int) -> list[Step]:
        return [Started(device="cpu"), Tokens(seq=0, text="half ", token_ids=(1,)), 0.01, failure]

    return script


async def test_a_failure_mid_stream_is_an_error_event_and_no_done(client, backend, url):
    backend.requests.script = _breaking(JobFailedError("Its worker is gone.", "worker_lost"))
    stream = await client.chat.completions.create(model=CHAT, messages=HELLO, stream=True)
    with pytest.raises(openai.APIError, match="Its worker is gone"):
        async for _ in stream:
            pass
    async with httpx.AsyncClient(headers={"x-api-key": USER}) as http:
        body = {"model": CHAT, "messages": HELLO, "stream": True}
        text = (await http.post(url + "/v1/chat/completions", json=body)).text
    assert "[DONE]" not in text
    assert text.rstrip().split("\n\n")[-1].startswith('data: {"error":{"message":"Its worker is gone."')


@pytest.mark.parametrize(
    ("asked", "mode"),
    [
        ({}, ResumeMode.FAST),
        ({"seed": 7}, ResumeMode.EXACT),
        ({"seed": 7, "extra_body": {"resume": "fast"}}, ResumeMode.FAST),
        ({"extra_body": {"resume": "exact"}}, ResumeMode.EXACT),
        ({"extra_body": {"resume": None}}, ResumeMode.FAST),
    ],
)
async def test_how_an_answer_goes_on_follows_the_seed_unless_it_is_asked_for(client, backend, asked, mode):
    await client.chat.completions.create(model=CHAT, messages=HELLO, **asked)
    await client.completions.create(model=CHAT, prompt="hello", **asked)
    assert backend.requests.modes == [mode, mode]


async def test_an_unknown_way_to_go_on_is_a_400_that_names_both(client):
    with pytest.raises(openai.BadRequestError, match="`resume` must be `exact` or `fast`") as caught:
        await client.chat.completions.create(model=CHAT, messages=HELLO, extra_body={"resume": "slow"})
    assert (caught.value.code, caught.value.param) == ("invalid_value", "resume")
    with pytest.raises(openai.BadRequestError, match="resume"):
        await client.completions.create(model=CHAT, prompt="x", extra_body={"resume": 1})
