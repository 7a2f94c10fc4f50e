"""The jobs API beyond one script: jobs for models, bulks, pages, short ids, attempts, results, words for bad input."""

import base64
import json
import struct
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from coordinator.http.app import create_app
from coordinator.http.services import Limits
from coordinator.records import (
    Attempt,
    JobKind,
    JobOutcome,
    JobState,
    LeaseEnd,
    TextResult,
    VectorsResult,
    encode_result,
)
from gogrid.ids import JobId, KeyId, WorkerId
from gogrid.protocol.job_messages import PythonDone, PythonEnd
from gogrid.protocol.tasks import ChatTask, CompletionTask, EmbeddingTask
from tests.fakes.backend import ADMIN, CHAT, EMBED, JOBS_ONLY, USER, WORKER, Backend

JOBS = "/api/v1/jobs"
BULK = JOBS + "/bulk"
LINES = {"content-type": "application/jsonl"}
CHAT_BODY = {"model": CHAT, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5, "seed": 7}


@pytest.fixture
def backend(tmp_path: Path) -> Backend:
    return Backend(tmp_path, Limits(bulk_jobs=50, bulk_bytes=100_000, json_bytes=10_000, bundle_files=5))


@pytest.fixture
async def http(backend: Backend) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(backend.services))
    headers = {"authorization": f"Bearer {USER}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
        yield client


def error(reply: httpx.Response) -> tuple[int, str | None, str]:
    detail = reply.json()["error"]
    assert "\n" not in detail["message"]
    return reply.status_code, detail["param"], detail["code"]


def finish(backend: Backend, job_id: str, outcome: JobOutcome) -> None:
    record = backend.jobs.records[JobId(job_id)]
    backend.jobs.records[JobId(job_id)] = replace(record, state=outcome.state, outcome=outcome, finished_at=2000.0)


# --- jobs for models -------------------------------------------------------------------------------------------------


async def test_a_job_for_a_model_takes_the_body_of_its_openai_endpoint(http, backend):
    bodies = {
        "chat": CHAT_BODY,
        "completion": {"model": CHAT, "prompt": "once", "echo": True},
        "embedding": {"model": EMBED, "input": ["a", "b"]},
    }
    tasks = []
    for kind, body in bodies.items():
        reply = await http.post(JOBS, json={"kind": kind, "request": body, "priority": -7})
        assert reply.status_code == 201, reply.text
        job = reply.json()
        assert (job["kind"], job["priority"], job["label"]) == (kind, -7, body["model"])
        tasks.append(backend.jobs.records[job["id"]].task)
    chat, completion, embedding = tasks
    assert isinstance(chat, ChatTask)
    assert (chat.messages[0].content, chat.sampling.max_tokens, chat.sampling.seed) == ("hi", 5, 7)
    assert isinstance(completion, CompletionTask)
    assert (completion.prompt, completion.echo) == ("once", True)
    assert isinstance(embedding, EmbeddingTask)
    assert embedding.inputs == ("a", "b")


@pytest.mark.parametrize(
    ("job", "param"),
    [
        ({"kind": "chat"}, "request"),
        ({"kind": "chat", "request": {}}, "request.model"),
        ({"kind": "chat", "request": {**CHAT_BODY, "stream": True}}, "request.stream"),
        ({"kind": "chat", "request": {**CHAT_BODY, "n": 2}}, "request.n"),
        ({"kind": "chat", "request": {**CHAT_BODY, "logprobs": True}}, "request.logprobs"),
        ({"kind": "chat", "request": {**CHAT_BODY, "temperature": 9}}, "request.temperature"),
        ({"kind": "chat", "request": {**CHAT_BODY, "tools": [{}]}}, "request.tools"),
        ({"kind": "chat", "request": {**CHAT_BODY, "messages": [{"role": "x", "content": ""}]}},
         "request.messages[0].role"),
        ({"kind": "chat", "request": CHAT_BODY, "code": "print(1)"}, "code"),
        ({"kind": "chat", "request": [1]}, "request"),
        ({"kind": "completion", "request": {"model": CHAT, "prompt": ["a", "b"]}}, "request.prompt"),
        ({"kind": "embedding", "request": {"model": CHAT, "input": "a"}}, "request.model"),
        ({"kind": "embedding", "request": {"model": EMBED, "input": "a", "encoding_format": "base64"}},
         "request.encoding_format"),
        ({"code": "1", "request": CHAT_BODY}, "request"),
        ({"code": "1", "kind": "movie"}, "kind"),
        ({"code": "1", "priority": 101}, "priority"),
        ({"code": "1", "priority": -101}, "priority"),
        ({"code": "1", "priority": 1.5}, "priority"),
    ],
)  # fmt: skip
async def test_a_job_that_could_never_work_is_refused_by_the_name_of_its_parameter(http, backend, job, param):
    reply = await http.post(JOBS, json=job)
    assert error(reply)[:2] == (400, param), reply.text
    assert backend.jobs.records == {}


async def test_an_unknown_model_is_a_404_and_a_key_for_jobs_alone_may_not_ask_models(http, backend):
    unknown = {"kind": "chat", "request": {**CHAT_BODY, "model": "nope"}}
    assert error(await http.post(JOBS, json=unknown)) == (404, "model", "model_not_found")
    only = {"authorization": f"Bearer {JOBS_ONLY}"}
    for path, content in (
        (JOBS, {"kind": "chat", "request": CHAT_BODY}),
        (BULK, {"kind": "chat", "request": CHAT_BODY}),
    ):
        reply = await http.post(path, content=json.dumps(content), headers=only | {"content-type": "application/json"})
        assert error(reply)[0] == 403
    assert backend.jobs.records == {}


async def test_the_same_request_for_a_model_is_recognised_whatever_its_seed_becomes(http):
    headers = {"idempotency-key": "k"}
    body = {"model": CHAT, "prompt": "x"}
    first = await http.post(JOBS, json={"kind": "completion", "request": body}, headers=headers)
    again = await http.post(JOBS, json={"request": dict(reversed(body.items())), "kind": "completion"}, headers=headers)
    assert (first.status_code, again.status_code) == (201, 200)
    other = await http.post(JOBS, json={"kind": "completion", "request": body, "priority": -1}, headers=headers)
    assert other.status_code == 409


# --- results ---------------------------------------------------------------------------------------------------------


async def test_a_text_result_is_what_the_endpoint_would_have_answered(http, backend):
    for kind, body, read in (
        ("chat", CHAT_BODY, lambda choice: choice["message"]["content"]),
        ("completion", {"model": CHAT, "prompt": "x"}, lambda choice: choice["text"]),
    ):
        job_id = (await http.post(JOBS, json={"kind": kind, "request": body})).json()["id"]
        assert error(await http.get(f"{JOBS}/{job_id}/result")) == (409, None, "conflict")
        text = TextResult(text="Paris.", finish_reason="length", prompt_tokens=3, completion_tokens=2)
        finish(backend, job_id, JobOutcome(JobState.DONE, encode_result(text)))
        reply = (await http.get(f"{JOBS}/{job_id}/result")).json()
        (choice,) = reply["choices"]
        assert (read(choice), choice["finish_reason"], reply["id"], reply["model"]) == (
            "Paris.",
            "length",
            job_id,
            CHAT,
        )
        assert reply["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


async def test_vectors_come_as_floats_or_in_base64(http, backend):
    job_id = (
        await http.post(JOBS, json={"kind": "embedding", "request": {"model": EMBED, "input": ["a", "b"]}})
    ).json()["id"]
    data = struct.pack("<4f", 1.0, 2.0, 0.5, -1.0)
    finish(
        backend, job_id, JobOutcome(JobState.DONE, encode_result(VectorsResult(width=2, data=data, prompt_tokens=2)))
    )
    floats = (await http.get(f"{JOBS}/{job_id}/result")).json()["data"]
    assert [row["embedding"] for row in floats] == [[1.0, 2.0], [0.5, -1.0]]
    packed = (await http.get(f"{JOBS}/{job_id}/result?encoding_format=base64")).json()["data"]
    assert base64.b64decode(packed[1]["embedding"]) == data[8:]
    assert error(await http.get(f"{JOBS}/{job_id}/result?encoding_format=hex"))[:2] == (400, "encoding_format")


async def test_the_result_of_a_script_and_of_a_job_without_one(http, backend):
    script = (await http.post(JOBS, json={"code": "1"})).json()["id"]
    await backend.jobs.end(JobId(script), PythonDone(exit_code=3, ended=PythonEnd.FAILED))
    assert (await http.get(f"{JOBS}/{script}/result")).json()["exit_code"] == 3
    failed = (await http.post(JOBS, json={"code": "2"})).json()["id"]
    finish(backend, failed, JobOutcome(JobState.DEAD, b"", "worker_lost", "It crashed 3 times."))
    reply = await http.get(f"{JOBS}/{failed}/result")
    assert error(reply)[0] == 404
    assert "It crashed 3 times." in reply.json()["error"]["message"]


# --- what is shown ---------------------------------------------------------------------------------------------------


async def test_a_job_shows_each_attempt_with_the_workers_name_and_why_it_ended(http, backend):
    job_id = JobId((await http.post(JOBS, json={"code": "1", "priority": -3})).json()["id"])
    gone = WorkerId("wk_gone")
    backend.jobs.ended_attempts[job_id] = [
        Attempt(job_id, 1, WORKER, 1001.0, 1002.0, LeaseEnd.CRASHED, "the script's sandbox died"),
        Attempt(job_id, 2, gone, None, 1003.0, LeaseEnd.VANISHED, "its lease ran out"),
    ]
    backend.jobs.records[job_id] = replace(
        backend.jobs.records[job_id], worker=WORKER, crashes=2, attempts=3, epoch=3, not_before=1004.0
    )
    job = (await http.get(f"{JOBS}/{job_id}")).json()
    assert (job["worker"], job["worker_name"], job["crashes"], job["priority"]) == (WORKER, "one", 2, -3)
    assert (job["attempts"], job["not_before"]) == (3, 1004.0)
    assert [(a["epoch"], a["worker_name"], a["ended"], a["why"]) for a in job["history"]] == [
        (1, "one", "crashed", "the script's sandbox died"),
        (2, "wk_gone", "vanished", "its lease ran out"),
    ]
    (listed,) = (await http.get(JOBS)).json()["data"]
    assert (listed["history"], listed["worker_name"]) == (None, "one")


async def test_pages_follow_each_other_without_gap_or_repeat(http, backend):
    for number in range(7):
        backend.jobs.add(KeyId("key_user"), JobKind.PYTHON, str(number), None)
        backend.jobs.add(KeyId("key_other"), JobKind.PYTHON, "not mine", None)
    seen, after = [], ""
    while True:
        page = (await http.get(JOBS, params={"limit": 3, "after": after} if after else {"limit": 3})).json()
        seen += [job["label"] for job in page["data"]]
        if not page["has_more"]:
            break
        after = page["data"][-1]["id"]
    assert seen == list("6543210")
    other = next(record.id for record in backend.jobs.records.values() if record.label == "not mine")
    assert error(await http.get(JOBS, params={"after": other}))[0] == 404


async def test_an_id_may_be_shortened_while_it_is_unique_among_ones_own(http, backend):
    records = [backend.jobs.add(KeyId("key_user"), JobKind.PYTHON, str(number), None) for number in range(2)]
    theirs = backend.jobs.add(KeyId("key_other"), JobKind.PYTHON, "x", None)
    ids = [JobId("job_" + "abcd" + "0" * 28), JobId("job_" + "abce" + "0" * 28), JobId("job_" + "abcd" + "1" * 28)]
    for record, job_id in zip([*records, theirs], ids, strict=True):
        del backend.jobs.records[record.id]
        backend.jobs.records[job_id] = replace(record, id=job_id)
    for given in (ids[0], "job_abcd", "abcd", "abcd0"):
        assert (await http.get(f"{JOBS}/{given}")).json()["id"] == ids[0], given
    backend.jobs.records[JobId("job_abcd2" + "0" * 27)] = replace(records[0], id=JobId("job_abcd2" + "0" * 27))
    reply = await http.get(f"{JOBS}/abcd")
    assert error(reply) == (400, "job_id", "ambiguous_job_id")
    assert "give more of it" in reply.json()["error"]["message"]
    for given in ("abc", "job_", "abcf", "ABCD", "abcd1", "%25", "_bcd"):
        assert error(await http.get(f"{JOBS}/{given}"))[0] == 404, given
    assert (await http.delete(f"{JOBS}/abce")).json()["state"] == "cancelled"


async def test_a_dead_job_is_tried_again_and_one_that_runs_is_not(http, backend):
    job_id = (await http.post(JOBS, json={"code": "1"})).json()["id"]
    assert error(await http.post(f"{JOBS}/{job_id}/requeue"))[0] == 409
    finish(backend, job_id, JobOutcome(JobState.DEAD, b"", "worker_lost", "It crashed."))
    assert [job["id"] for job in (await http.get(f"{JOBS}?state=dead")).json()["data"]] == [job_id]
    reply = await http.post(f"{JOBS}/{job_id}/requeue")
    assert (reply.status_code, reply.json()["state"]) == (200, "queued")
    assert error(await http.post(f"{JOBS}/{job_id[:8]}x/requeue"))[0] == 404


# --- bulks -----------------------------------------------------------------------------------------------------------


def lines(*jobs: object) -> bytes:
    return b"\n".join(json.dumps(job).encode() for job in jobs)


async def test_a_bulk_answers_with_ids_in_the_order_of_its_lines(http, backend):
    body = (
        lines({"code": "1", "label": "a"}, {"kind": "chat", "request": CHAT_BODY, "label": "b"}, {"code": "1"})
        + b"\n\n"
    )
    reply = await http.post(BULK, content=body, headers=LINES)
    assert (reply.status_code, reply.json()["new"]) == (201, True), reply.text
    labels = [backend.jobs.records[job_id].label for job_id in reply.json()["ids"]]
    assert labels == ["a", "b", "main.py"]


async def test_a_bulk_with_wrong_lines_names_them_and_takes_none(http, backend):
    good = {"code": "1"}
    body = lines(good, {"code": "1", "priority": 999}, good, {"kind": "chat", "request": {**CHAT_BODY, "model": "no"}})
    reply = await http.post(BULK, content=b"\n" + body + b"\n{oops\n", headers=LINES)
    assert error(reply) == (400, "line 3", "invalid_value")
    message = reply.json()["error"]["message"]
    assert message.startswith("No job was taken, for 3 of 5 cannot be: line 3: `priority`: ")
    assert "line 5: There is no model 'no'" in message
    assert "line 6: The body is not valid JSON" in message
    assert backend.jobs.records == {}
    many = await http.post(BULK, content=lines(*[{"code": "1", "x": 1}] * 20), headers=LINES)
    assert "; and 15 more." in many.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", (400, None, "invalid_value")),
        (b"\n \n", (400, None, "invalid_value")),
        (b"[]", (400, "line 1", "invalid_value")),
        (lines(*[{"code": "1"}] * 51), (400, None, "too_many_jobs")),
        (b'{"code": "' + b"x" * 10_001 + b'"}', (400, "line 1", "request_too_large")),
        (b"x" * 100_001, (413, None, "request_too_large")),
        (lines({"code": "1", "files": [{"name": "../x", "content": ""}]}), (400, "line 1", "invalid_value")),
    ],
)
async def test_a_bad_bulk_is_one_line_that_says_where(http, backend, body, expected):
    assert error(await http.post(BULK, content=body, headers=LINES)) == expected
    assert backend.jobs.records == {}


async def test_a_bulk_is_json_lines_and_nothing_else(http):
    reply = await http.post(BULK, content=b"{}", headers={"content-type": "text/csv"})
    assert error(reply) == (415, None, "unsupported_media_type")


async def test_one_idempotency_key_is_for_the_whole_bulk(http, backend):
    headers = LINES | {"idempotency-key": "once"}
    body = lines({"code": "1"}, {"kind": "completion", "request": {"model": CHAT, "prompt": "x"}})
    first = await http.post(BULK, content=body, headers=headers)
    again = await http.post(BULK, content=body, headers=headers)
    assert (first.status_code, again.status_code, again.json()["new"]) == (201, 200, False)
    assert first.json()["ids"] == again.json()["ids"]
    assert len(backend.jobs.records) == 2
    other = await http.post(BULK, content=lines({"code": "2"}), headers=headers)
    assert error(other)[0] == 409


@pytest.mark.parametrize("bulk_first", [False, True])
@pytest.mark.parametrize("many", [1, 3])
async def test_the_key_of_a_single_job_and_of_a_bulk_does_not_make_two_sets_of_jobs(http, backend, bulk_first, many):
    once = {"idempotency-key": "once"}

    async def send(bulk: bool) -> httpx.Response:
        if bulk:
            return await http.post(BULK, content=lines(*[{"code": "1"}] * many), headers=LINES | once)
        return await http.post(JOBS, json={"code": "1"}, headers=once)

    assert (await send(bulk_first)).status_code == 201
    before = set(backend.jobs.records)
    assert error(await send(not bulk_first)) == (409, None, "conflict")
    assert (await send(bulk_first)).status_code == 200
    assert set(backend.jobs.records) == before


# --- priorities ------------------------------------------------------------------------------------------------------


async def test_a_plain_key_does_not_raise_its_jobs_above_those_of_others(http, backend):
    for priority in (1, 100):
        urgent = {"code": "1", "priority": priority}
        reply = await http.post(JOBS, json=urgent)
        assert error(reply) == (403, "priority", "priority_not_allowed")
        assert "the scope 'admin'" in reply.json()["error"]["message"]
        reply = await http.post(BULK, content=b"\n" + lines({"code": "1"}, urgent), headers=LINES)
        assert error(reply) == (403, "line 3", "priority_not_allowed")
        form = {"job": (None, json.dumps({"priority": priority})), "files": ("main.py", b"1")}
        assert error(await http.post(JOBS, files=form))[0] == 403
    assert backend.jobs.records == {}


async def test_an_admins_key_may_raise_and_any_key_may_lower(http, backend):
    for key, priority in ((ADMIN, 100), (USER, -100), (USER, 0)):
        job, bearer = {"code": "1", "priority": priority}, {"authorization": f"Bearer {key}"}
        assert (await http.post(JOBS, json=job, headers=bearer)).status_code == 201
        assert (await http.post(BULK, content=lines(job), headers=LINES | bearer)).status_code == 201
    assert [record.priority for record in backend.jobs.records.values()] == [100, 100, -100, -100, 0, 0]


async def test_a_file_that_many_lines_have_is_stored_once(http, backend):
    stored = []
    put = backend.blobs.put_bytes
    backend.blobs.put_bytes = lambda data: stored.append(data) or put(data)  # type: ignore[method-assign]
    reply = await http.post(
        BULK, content=lines(*[{"code": "print(1)", "label": str(n)} for n in range(40)]), headers=LINES
    )
    assert reply.status_code == 201
    assert stored == [b"print(1)"]


# --- words for bad input ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "param", "words"),
    [
        ("limit=abc", "limit", "a whole number from 1 to 1000, not 'abc'"),
        ("limit=0", "limit", "a whole number from 1 to 1000, not '0'"),
        ("limit=" + "9" * 400, "limit", "a whole number from 1 to 1000"),
        ("limit=%0a", "limit", "a whole number from 1 to 1000"),
        ("state=nope", "state", "'nope' is not one of queued, leased"),
        ("kind=film", "kind", "'film' is not one of chat"),
        ("sort=up", "sort", "is not a query parameter known here"),
    ],
)
async def test_a_bad_query_value_is_said_in_our_own_words(http, query, param, words):
    reply = await http.get(f"{JOBS}?{query}")
    assert error(reply)[:2] == (400, param)
    assert words in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"code": "\\ud800"}', "half of a surrogate pair"),
        (b'{"code": "\\udc00 x"}', "half of a surrogate pair"),
        (b'{"code": "\xff"}', "it is not UTF-8"),
        (b'{"code": "1"', "it ends too early"),
        (b"", "it is empty"),
        (b'{"code": "1",}', "trailing comma"),
        (b'{"kind": "chat", "request": {"model": "\\ud800"}}', "half of a surrogate pair"),
        (b'{"kind": "chat", "request": {"tools": ' + b"[" * 50_000 + b"]" * 50_000 + b"}}", "nested too deeply"),
    ],
)
@pytest.mark.parametrize("path", [JOBS, "/v1/chat/completions"])
async def test_what_is_no_json_is_said_in_our_own_words(backend, body, words, path):
    if path != JOBS:
        body = body.replace(b'"code"', b'"model"').replace(b'{"kind": "chat", "request": {', b"{").replace(b"}}", b"}")
    transport = httpx.ASGITransport(create_app(Backend(backend.folder / "x").services))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        headers = {"authorization": f"Bearer {USER}", "content-type": "application/json"}
        reply = await client.post(path, content=body, headers=headers)
    assert error(reply)[0] == 400
    assert words in reply.json()["error"]["message"]
    assert "codec" not in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        ("multipart/form-data", b"x", "names no `boundary`"),
        ("multipart/form-data; boundary=x", b"nonsense", "from its beginning it is not the multipart/form-data"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="job"\r\n\r\n{}',
            "it is not the",
        ),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: \xff\xfe\r\n\r\n1\r\n--x--", "it is not the"),
        (
            "multipart/form-data; boundary=x",
            b"".join(
                b'--x\r\nContent-Disposition: form-data; name="f"; filename="%d"\r\n\r\n1\r\n' % n for n in range(9)
            )
            + b"--x--",
            "at most 5 files",
        ),
    ],
)
async def test_what_is_no_form_is_said_in_our_own_words(http, kind, body, words):
    reply = await http.post(JOBS, content=body, headers={"content-type": kind})
    assert error(reply)[0] == 400
    assert words in reply.json()["error"]["message"], reply.text
