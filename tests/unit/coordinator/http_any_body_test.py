"""Any JSON body gives 2xx or an OpenAI error body, and never a 500."""

import asyncio
import json

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordinator.errors import RequestError
from coordinator.http import openai_schema
from coordinator.http.app import create_app
from coordinator.http.services import Limits
from tests.fakes.backend import ADMIN, CHAT, EMBED, Backend, FakeCatalogue

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
ANY = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner), max_leaves=4
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "tool", "nobody"])},
    optional={"content": st.text(max_size=20) | st.lists(st.fixed_dictionaries({"type": st.just("text")}), max_size=2)
              | ANY, "name": ANY, "tool_calls": ANY},
)  # fmt: skip


def shaped(required: dict[str, st.SearchStrategy[object]], struct: type) -> st.SearchStrategy[object]:
    """A body with its required parameters and up to two of the others, which may be anything."""
    others = [name for name in struct.__struct_fields__ if name not in required]
    few = st.dictionaries(st.sampled_from(others), ANY, max_size=2)
    return st.builds(lambda must, may: {**may, **must}, st.fixed_dictionaries(required), few)


BODIES = {
    "/v1/chat/completions": shaped(
        {"model": st.just(CHAT), "messages": st.lists(MESSAGE, max_size=3) | ANY}, openai_schema.ChatRequest
    ),
    "/v1/completions": shaped(
        {"model": st.just(CHAT), "prompt": st.text() | st.lists(st.integers(-1, 9)) | ANY},
        openai_schema.CompletionRequest,
    ),
    "/v1/embeddings": shaped(
        {"model": st.just(EMBED), "input": st.text() | st.lists(st.text(max_size=3)) | ANY},
        openai_schema.EmbeddingRequest,
    ),
    "/api/v1/jobs": st.fixed_dictionaries(
        {"code": st.text(max_size=9) | ANY}, optional={"files": ANY, "limits": ANY, "arguments": ANY, "entry": ANY}
    ),
}


@pytest.mark.parametrize("path", BODIES)
def test_any_json_gives_2xx_or_an_openai_error_and_never_500(path, tmp_path):
    backend = Backend(tmp_path)
    app = create_app(backend.services)
    headers = {"authorization": f"Bearer {ADMIN}"}

    async def ask(content: bytes) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t", headers=headers) as http:
            return await http.post(path, content=content, headers={"content-type": "application/json"})

    with asyncio.Runner() as runner:

        @given(body=BODIES[path] | ANY)
        @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
        def run(body: object) -> None:
            reply = runner.run(ask(json.dumps(body).encode()))
            if reply.status_code < 300:
                return
            assert reply.status_code in (400, 404)
            error = reply.json()["error"]
            assert set(error) == {"message", "type", "param", "code"}
            assert error["message"]
            assert "\n" not in error["message"]

        run()


@given(body=st.binary(max_size=200) | BODIES["/v1/chat/completions"].map(lambda body: json.dumps(body).encode()))
@settings(max_examples=100, deadline=None)
def test_parsing_raises_nothing_but_request_errors(body):
    model = FakeCatalogue().model(CHAT)
    try:
        request = openai_schema.parse_chat(body)
        tasks = openai_schema.chat_tasks(request, model, 5, Limits())
    except RequestError:
        pass
    else:
        assert len(tasks) == request.choices
        for task in tasks:
            assert 0 <= task.sampling.seed < 1 << 31
            assert 0 <= task.sampling.temperature <= 2
            assert 0 < task.sampling.top_p <= 1
