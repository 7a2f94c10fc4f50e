"""What the official `openai` client and a plain one see of models that cannot serve yet."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from itertools import chain, repeat, takewhile
from pathlib import Path

import httpx
import msgspec
import openai
import pytest

from coordinator.errors import NotReadyError
from coordinator.http.services import Limits
from coordinator.interactive.loading import Loading, Wait
from gogrid.protocol.job_messages import Finished, Progress, Started, TextDone, Tokens
from gogrid.protocol.worker_report import (
    Device,
    DeviceKind,
    LoadedModel,
    LoadingModel,
    LoadStage,
    Readiness,
    WorkerReport,
)
from tests.fakes.backend import CHAT, EMBED, USER, Backend, Step, echo, serving

HELLO = [{"role": "user", "content": "hello big world"}]
LOADING = NotReadyError("echo cannot answer yet: it is loading 40% on one.", 7, Loading(LoadStage.LOADING, 0.4, 6.5))
AUTH = {"authorization": f"Bearer {USER}"}


@pytest.fixture
def backend(tmp_path: Path) -> Backend:
    return Backend(tmp_path, Limits(loading_s=0.05, keep_alive_s=0.05))


@pytest.fixture
async def url(backend: Backend) -> AsyncIterator[str]:
    async with serving(backend) as address:
        yield address


def slowly(*steps: Step) -> object:
    """A script that says these before the answer."""
    return lambda task, number: [*steps, *echo(task, number)]


async def test_a_cold_model_is_a_503_with_how_far_it_is(url: str, backend: Backend) -> None:
    backend.requests.script = lambda _task, _number: [LOADING]
    async with openai.AsyncOpenAI(api_key=USER, base_url=url + "/v1", max_retries=0) as client:
        with pytest.raises(openai.InternalServerError) as caught:
            await client.chat.completions.create(model=CHAT, messages=HELLO, extra_body={"wait": False})  # type: ignore[arg-type]
    assert (caught.value.status_code, caught.value.code) == (503, "model_loading")
    assert caught.value.response.headers["retry-after"] == "7"
    assert caught.value.body["loading"] == {"state": "loading", "progress": 0.4, "eta_s": 6.5}  # type: ignore[index]
    assert backend.requests.waits == [Wait(0.0)]


async def test_the_header_says_how_long_to_wait_for_every_kind_of_request(url: str, backend: Backend) -> None:
    headers = {**AUTH, "x-gogrid-wait": "30"}
    async with httpx.AsyncClient(base_url=url, headers=headers) as client:
        for path, body in (
            ("/v1/chat/completions", {"model": CHAT, "messages": HELLO}),
            ("/v1/completions", {"model": CHAT, "prompt": "x"}),
            ("/v1/embeddings", {"model": EMBED, "input": "x"}),
        ):
            assert (await client.post(path, json=body)).status_code == 200
        assert backend.requests.waits == [Wait(30.0)] * 3
        for given in ("soon", "1_0", "nan", "-1", "1e3", ""):
            refused = await client.post(path, json=body, headers={"x-gogrid-wait": given})
            assert (refused.status_code, refused.json()["error"]["param"]) == (400, "X-GoGrid-Wait"), given
        refused = await client.post(path, json={**body, "wait": "no"})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "wait")


async def test_a_stream_that_waits_for_its_model_is_kept_alive_by_comments(url: str, backend: Backend) -> None:
    backend.requests.script = slowly(Progress(stage=LoadStage.LOADING, fraction=0.4), 0.2)  # type: ignore[assignment]
    async with httpx.AsyncClient(base_url=url, headers=AUTH) as client:
        body = {"model": CHAT, "messages": HELLO, "stream": True}
        lines = (await client.post("/v1/chat/completions", json=body)).text.split("\n\n")
    comments = [line for line in lines if line.startswith(":")]
    assert len(comments) >= 2
    assert set(comments) == {": loading 40%"}
    assert lines[: len(comments)] == comments
    assert lines[-2] == "data: [DONE]"
    async with openai.AsyncOpenAI(api_key=USER, base_url=url + "/v1", max_retries=0) as official:
        stream = await official.chat.completions.create(model=CHAT, messages=HELLO, stream=True)  # type: ignore[arg-type]
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert text == "hello big world"


async def test_a_stream_that_waits_for_a_worker_says_for_which_and_why(url: str, backend: Backend) -> None:
    """In one line that no client takes for an event, whatever a worker says of itself."""
    lie = "two: on battery\r\n\ndata: {}\n\x85data: [DONE]" + "!" * 200
    backend.requests.waiting_for = ("one: paused by its owner", lie, "three: x", "four: x", "five: x")
    backend.requests.script = slowly(0.2)  # type: ignore[assignment]
    async with httpx.AsyncClient(base_url=url, headers=AUTH) as client:
        body = {"model": CHAT, "messages": HELLO, "stream": True}
        reply = (await client.post("/v1/chat/completions", json=body)).text
    first, *rest = reply.split("\n\n")
    assert first.startswith(": waiting for a worker (one: paused by its owner; two: on battery data: {} data: [DONE]!")
    assert first.endswith("!; three: x; and 2 more)")
    assert len(first) < 300
    assert [line for line in rest if line and not line.startswith(("data: {", ": waiting"))] == ["data: [DONE]"]
    async with openai.AsyncOpenAI(api_key=USER, base_url=url + "/v1", max_retries=0) as official:
        stream = await official.chat.completions.create(model=CHAT, messages=HELLO, stream=True)  # type: ignore[arg-type]
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "hello big world"


async def test_a_stream_that_is_moved_in_mid_answer_says_whom_it_waits_for_and_how_far_the_next_worker_is(
    url: str, backend: Backend
) -> None:
    tickets, seen = backend.requests.tickets, list[str]()

    def until_seen(comment: str) -> Iterator[Step]:
        while comment not in seen:
            yield 0.01

    def moved(_task: object, _number: int) -> Iterator[Step]:
        yield from (Started(device="cpu"), Tokens(seq=0, text="hello ", token_ids=(0,)))
        tickets[0].waiting_for = ("one: paused\r\n\ndata: by its owner",)
        yield from until_seen(": waiting for a worker (one: paused data: by its owner)")
        tickets[0].waiting_for = ("one: on battery",)
        yield from until_seen(": waiting for a worker (one: on battery)")
        tickets[0].waiting_for = ()
        yield Progress(stage=LoadStage.LOADING, fraction=0.4)
        yield from until_seen(": loading 40%")
        yield Started(device="cpu")
        yield from until_seen(": still here")
        yield Tokens(seq=1, text="world", token_ids=(1,))
        yield Finished(result=TextDone(finish_reason="stop", prompt_tokens=1, completion_tokens=2))

    backend.requests.script = moved  # type: ignore[assignment]
    await _read_stream(url, seen)
    begun, ended = (next(at for at, line in enumerate(seen) if word in line) for word in ("hello", "world"))
    assert all(begun < at < ended for at, line in enumerate(seen) if line.startswith(":"))
    assert seen[-1] == "data: [DONE]"


async def _read_stream(url: str, seen: list[str]) -> None:
    async with (
        asyncio.timeout(10),
        httpx.AsyncClient(base_url=url, headers=AUTH) as client,
        client.stream("POST", "/v1/chat/completions", json={"model": CHAT, "messages": HELLO, "stream": True}) as reply,
    ):
        async for line in reply.aiter_lines():
            if line:
                seen.append(line)


async def test_a_worker_that_only_takes_long_is_told_less_often_than_one_that_is_waited_for(tmp_path: Path) -> None:
    backend = Backend(tmp_path, Limits(loading_s=0.02, keep_alive_s=60.0))
    silent, told = list[str](), list[str]()
    said = (Started(device="cpu"), Tokens(seq=0, text="x", token_ids=(0,)))
    async with serving(backend) as address:
        backend.requests.script = lambda _task, _number: [*said, 0.1, LOADING]
        await _read_stream(address, silent)
        backend.requests.waiting_for = ("one: paused by its owner",)
        backend.requests.script = lambda _task, _number: chain(  # type: ignore[assignment,return-value]
            said, takewhile(lambda _: sum(line.startswith(":") for line in told) < 3, repeat(0.01)), [LOADING]
        )
        await _read_stream(address, told)
    assert not any(line.startswith(":") for line in silent)
    assert ": waiting for a worker (one: paused by its owner)" in told


async def test_a_stream_that_failed_while_it_waited_says_why(url: str, backend: Backend) -> None:
    backend.requests.script = lambda _task, _number: [Progress(stage=LoadStage.LOADING, fraction=0.4), 0.2, LOADING]
    async with httpx.AsyncClient(base_url=url, headers=AUTH) as client:
        body = {"model": CHAT, "messages": HELLO, "stream": True}
        lines = (await client.post("/v1/chat/completions", json=body)).text.strip().split("\n\n")
    assert lines[0] == ": loading 40%"
    error = msgspec.json.decode(lines[-1].removeprefix("data: ").encode())["error"]
    assert (error["code"], error["loading"]["state"]) == ("model_loading", "loading")


async def test_both_apis_show_where_a_model_is(url: str, backend: Backend) -> None:
    digest = backend.catalogue.records[0].digest
    report = WorkerReport(
        software="t",
        hostname="h",
        platform="p",
        readiness=Readiness.READY,
        reason="ready",
        devices=(Device(kind=DeviceKind.CPU, name="c", memory_bytes=1, cap_bytes=1, why=""),),
        engines=("echo",),
        sandbox="s",
        python_jobs=True,
        cached=(digest,),
        loading=(LoadingModel(digest=digest, stage=LoadStage.CONVERTING, fraction=0.25, eta_s=30.0),),
    )
    backend.live.views = [replace(backend.live.views[0], report=report)]
    expected = {
        "state": "loading",
        "loaded": [],
        "loading": [{"worker": "one", "state": "converting", "progress": 0.25, "eta_s": 30.0}],
        "cached": ["one"],
        "refused": [],
    }
    async with httpx.AsyncClient(base_url=url, headers=AUTH) as client:
        assert (await client.get(f"/v1/models/{CHAT}")).json()["status"] == expected
        assert (await client.get("/api/v1/models")).json()["data"][0]["status"] == expected
        assert "status" not in (await client.get("/v1/models")).json()["data"][0]
        loaded = msgspec.structs.replace(
            report, loading=(), loaded=(LoadedModel(digest=digest, memory_bytes=1, running=0, slots=1),)
        )
        backend.live.views = [replace(backend.live.views[0], report=loaded)]
        status = (await client.get(f"/v1/models/{CHAT}")).json()["status"]
        assert (status["state"], status["loaded"]) == ("loaded", ["one"])
        backend.live.views = [replace(backend.live.views[0], connected=False)]
        assert (await client.get(f"/v1/models/{CHAT}")).json()["status"]["state"] == "absent"
