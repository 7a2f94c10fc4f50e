"""The native jobs API: submit in both forms, list, logs that can be resumed, output files, cancel, idempotency."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from coordinator.errors import KeyLimitError, QueueFullError
from coordinator.http.app import create_app
from coordinator.http.services import Limits
from coordinator.records import JobKind
from gogrid.ids import JobId, KeyId
from gogrid.protocol.job_messages import OutputFile, PythonDone, PythonEnd
from tests.fakes.backend import JOBS_ONLY, Backend

JOBS = "/api/v1/jobs"


@pytest.fixture
def backend(tmp_path: Path) -> Backend:
    return Backend(tmp_path, Limits(bundle_bytes=100_000, bundle_files=5))


@pytest.fixture
async def http(backend: Backend) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(backend.services))
    headers = {"authorization": f"Bearer {JOBS_ONLY}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
        yield client


async def test_json_job_keeps_its_files_as_blobs(http, backend):
    content = base64.b64encode(b"\0data").decode()
    reply = await http.post(
        JOBS,
        json={
            "code": "print(1)",
            "arguments": ["-x"],
            "label": "mine",
            "limits": {"memory_bytes": 1 << 28, "cpu_cores": 0.5, "wall_s": 60},
            "files": [{"name": "in/a b.bin", "content": content}],
        },
    )
    assert reply.status_code == 201
    assert reply.headers["location"] == f"{JOBS}/{reply.json()['id']}"
    assert (reply.json()["state"], reply.json()["queue_position"], reply.json()["label"]) == ("queued", 0, "mine")
    task = backend.jobs.submitted_tasks[0]
    assert (task.entry, task.arguments) == ("main.py", ("-x",))
    assert (task.limits.memory_bytes, task.limits.cpu_cores, task.limits.wall_s) == (1 << 28, 0.5, 60)
    stored = {}
    for file in task.files:
        with backend.blobs.open(file.sha256) as blob:
            stored[file.name] = blob.read()
    assert stored == {"main.py": b"print(1)", "in/a b.bin": b"\0data"}


async def test_form_job_takes_files_as_parts(http, backend):
    files = [("files", ("run.py", b"print(2)")), ("files", ("in/x.txt", b"hello\r\n--x"))]
    reply = await http.post(JOBS, data={"job": '{"entry": "run.py"}'}, files=files)
    assert reply.status_code == 201, reply.text
    assert [(file.name, file.size) for file in backend.jobs.submitted_tasks[0].files] == [
        ("run.py", 8),
        ("in/x.txt", 10),
    ]


@pytest.mark.parametrize(
    "name",
    ["../x", "/etc/passwd", "a/../b", "a//b", ".", "a\\b", "a\nb", "C:x", "x" * 300, "", "a/", "\u202ex", "con."],
)
async def test_file_names_that_leave_the_folder_or_deceive_are_refused(http, backend, name):
    reply = await http.post(JOBS, json={"code": "1", "files": [{"name": name, "content": ""}]})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "files[1].name")
    assert backend.jobs.submitted_tasks == []


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "entry"),
        ({"code": "1", "entry": "../x"}, "entry"),
        ({"code": "1", "limits": {"memory_bytes": 1}}, "limits.memory_bytes"),
        ({"code": "1", "limits": {"wall_s": 1e9}}, "limits.wall_s"),
        ({"code": "1", "limits": {"cpu_cores": 0}}, "limits.cpu_cores"),
        ({"code": "1", "limits": {"output_bytes": -1}}, "limits.output_bytes"),
        ({"code": "1", "limits": {"output_files": 4001}}, "limits.output_files"),
        ({"code": "1", "limits": {"log_bytes": 1}}, "limits.log_bytes"),
        ({"code": "1", "surprise": 1}, "surprise"),
        ({"code": "1", "files": [{"name": "MAIN.py", "content": ""}]}, "files[1].name"),
        ({"code": "1", "files": [{"name": f"f{n}", "content": ""} for n in range(5)]}, "files"),
        ({"code": "x" * 100_001}, "files"),
        ({"code": "1", "files": [{"name": "a", "content": "not base64!"}]}, "files[0].content"),
    ],
)
async def test_bad_job_is_one_line_that_names_the_parameter(http, body, param):
    reply = await http.post(JOBS, json=body)
    error = reply.json()["error"]
    assert (reply.status_code, error["param"]) == (400, param)
    assert "\n" not in error["message"]


async def test_limits_above_the_coordinators_are_refused_with_the_numbers_and_nothing_is_kept(http, backend):
    limits = {"memory_bytes": 5 << 40, "output_bytes": 1 << 20, "output_files": 7}
    reply = await http.post(JOBS, json={"code": "1", "limits": limits})
    assert reply.json()["error"]["message"] == (
        "`limits.memory_bytes`: a job may ask for 16.8 MB to 4.4 TB, not for 5.5 TB."
    )
    assert list(backend.blobs.digests()) == []
    reply = await http.post(JOBS, json={"code": "1", "limits": {**limits, "memory_bytes": 1 << 30}})
    assert reply.status_code == 201
    [task] = backend.jobs.submitted_tasks
    assert (task.limits.output_bytes, task.limits.output_files) == (1 << 20, 7)


@pytest.mark.parametrize(
    "body",
    [b"", b"--x", b"--x\r\n\r\n", b'--x\r\nContent-Disposition: form-data; name="job"\r\n\r\n{}', b"\0" * 100],
)
async def test_broken_forms_are_refused(http, body):
    reply = await http.post(JOBS, content=body, headers={"content-type": "multipart/form-data; boundary=x"})
    assert reply.status_code == 400
    no_boundary = await http.post(JOBS, content=body, headers={"content-type": "multipart/form-data"})
    assert no_boundary.status_code == 400


async def test_oversize_bundle_is_a_413(http):
    reply = await http.post(JOBS, content=b"x" * 1_200_000, headers={"content-type": "application/json"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (413, "request_too_large")


async def test_same_idempotency_key_gives_the_same_job_and_another_body_a_409(http, backend):
    headers = {"idempotency-key": "abc"}
    first = await http.post(JOBS, json={"code": "1"}, headers=headers)
    again = await http.post(JOBS, data={"job": '{"code": "1"}'}, files={"": ""}, headers=headers)
    again = await http.post(JOBS, json={"code": "1", "gpu": False}, headers=headers)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]
    other = await http.post(JOBS, json={"code": "2"}, headers=headers)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "conflict")
    for given in ([("idempotency-key", "x" * 256)], [("idempotency-key", "a"), ("idempotency-key", "a")]):
        bad = await http.post(JOBS, json={"code": "2"}, headers=given)
        assert (bad.status_code, bad.json()["error"]["param"]) == (400, "Idempotency-Key")


@pytest.mark.parametrize(
    ("refusal", "status"), [(KeyLimitError("Yours.", 5), 429), (QueueFullError("Everybody's.", 5), 503)]
)
async def test_full_queues_say_when_to_come_back(http, backend, refusal, status):
    backend.jobs.refusal = refusal
    reply = await http.post(JOBS, json={"code": "1"})
    assert (reply.status_code, reply.headers["retry-after"]) == (status, "5")


async def test_list_filters_by_state_and_kind_and_names_what_is_allowed(http, backend):
    owner = KeyId("key_jobs")
    backend.jobs.add(owner, JobKind.PYTHON, "a", None)
    backend.jobs.add(owner, JobKind.CHAT, "b", None)
    labels = {
        query: [job["label"] for job in (await http.get(JOBS + query)).json()["data"]]
        for query in ("", "?kind=all", "?kind=chat,embedding", "?state=done,failed", "?state=queued&limit=1&kind=all")
    }
    assert list(labels.values()) == [["a"], ["b", "a"], ["b"], [], ["b"]]
    for query in ("?state=nope", "?kind=nope", "?limit=0", "?limit=x", "?limit=99999"):
        reply = await http.get(JOBS + query)
        assert reply.status_code == 400, query
        assert "\n" not in reply.json()["error"]["message"]


def events(text: str) -> list[tuple[str, dict[str, object]]]:
    found = []
    for block in text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        found.append((fields["event"], json.loads(fields["data"])))
    return found


async def test_logs_resume_behind_the_last_event_and_end_with_the_job(http, backend):
    job_id = (await http.post(JOBS, json={"code": "1"})).json()["id"]
    for data in (b"one\n", b"\xff\x1b[31m", b"three"):
        await backend.jobs.write(JobId(job_id), "stdout", data)
    now = events((await http.get(f"{JOBS}/{job_id}/logs?follow=false")).text)
    assert [kind for kind, _ in now] == ["log", "log", "log", "job"]
    assert [event["seq"] for kind, event in now if kind == "log"] == [1, 2, 3]
    assert base64.b64decode(now[1][1]["data"]) == b"\xff\x1b[31m"
    await backend.jobs.end(JobId(job_id), PythonDone(exit_code=3, ended=PythonEnd.FAILED))
    rest = events((await http.get(f"{JOBS}/{job_id}/logs", headers={"last-event-id": "2"})).text)
    assert [kind for kind, _ in rest] == ["log", "job"]
    assert rest[0][1]["seq"] == 3
    assert rest[1][1]["result"]["exit_code"] == 3
    assert (await http.get(f"{JOBS}/{job_id}/logs?after=x")).status_code == 400
    assert (await http.get(f"{JOBS}/{job_id}/logs?follow=maybe")).status_code == 400


async def test_output_files_come_as_attachments_and_resume(http, backend):
    job_id = (await http.post(JOBS, json={"code": "1"})).json()["id"]
    stored = backend.blobs.put_bytes(b"<script>0123456789")
    name = 'out/a "b" ü.html'
    file = OutputFile(name=name, sha256=stored.sha256, size=stored.size)
    assert (await http.get(f"{JOBS}/{job_id}/files/{name}")).status_code == 404
    await backend.jobs.end(JobId(job_id), PythonDone(exit_code=0, ended=PythonEnd.OK, files=(file,)))
    whole = await http.get(f"{JOBS}/{job_id}/files/{name}")
    assert whole.content == b"<script>0123456789"
    assert whole.headers["content-type"] == "application/octet-stream"
    assert whole.headers["content-disposition"] == "attachment; filename*=UTF-8''a%20%22b%22%20%C3%BC.html"
    part = await http.get(f"{JOBS}/{job_id}/files/{name}", headers={"range": "bytes=8-"})
    assert (part.status_code, part.content) == (206, b"0123456789")
    for other in ("nope", "out", "../" + name, stored.sha256):
        assert (await http.get(f"{JOBS}/{job_id}/files/{other}")).status_code == 404


async def test_cancel_is_idempotent_and_leaves_ended_jobs_alone(http, backend):
    job_id = (await http.post(JOBS, json={"code": "1"})).json()["id"]
    for _ in range(2):
        reply = await http.delete(f"{JOBS}/{job_id}")
        assert (reply.status_code, reply.json()["state"]) == (200, "cancelled")
    assert reply.json()["error"]["code"] == "cancelled"


@pytest.mark.parametrize(
    ("job", "param"),
    [
        ({"code": "1", "arguments": ["x" * 60_001]}, "arguments"),
        ({"code": "1", "arguments": ["a\0b"]}, "arguments"),
        ({"code": "1", "files": [{"name": "a", "content": ""}, {"name": "a/b", "content": ""}]}, "files"),
    ],
)
async def test_what_no_worker_could_ever_take_is_refused_at_submit(http, job, param):
    refused = await http.post(JOBS, json=job)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == param
