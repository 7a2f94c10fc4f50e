"""`Prefer: wait=SECONDS`: one question instead of many, and never an endless one."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from coordinator.errors import RequestError
from coordinator.http.app import create_app
from coordinator.http.prefer import LONGEST_S, wait_of
from gogrid.ids import JobId
from gogrid.protocol.job_messages import PythonDone, PythonEnd
from tests.fakes.backend import JOBS_ONLY, Backend

JOBS = "/api/v1/jobs"
DONE = PythonDone(ended=PythonEnd.OK, exit_code=0)


@pytest.fixture
def backend(tmp_path: Path) -> Backend:
    return Backend(tmp_path)


@pytest.fixture
async def http(backend: Backend) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(backend.services))
    headers = {"authorization": f"Bearer {JOBS_ONLY}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
        yield client


async def test_the_answer_to_a_submission_comes_with_the_jobs_end(http: httpx.AsyncClient, backend: Backend) -> None:
    asking = asyncio.create_task(http.post(JOBS, json={"code": "1"}, headers={"prefer": "wait=30"}))
    while not backend.jobs.records:
        await asyncio.sleep(0)
    (job_id,) = backend.jobs.records
    await backend.jobs.end(job_id, DONE)
    reply = await asking
    assert (reply.status_code, reply.headers["preference-applied"]) == (201, "wait=30")
    assert (reply.json()["state"], reply.json()["result"]["exit_code"]) == ("done", 0)


async def test_a_job_that_takes_longer_is_answered_as_it_is(http: httpx.AsyncClient) -> None:
    reply = await http.post(JOBS, json={"code": "1"}, headers={"prefer": "respond-async, wait=1"})
    assert (reply.status_code, reply.json()["state"]) == (201, "queued")


async def test_looking_at_a_job_may_wait_for_its_end(http: httpx.AsyncClient, backend: Backend) -> None:
    job = (await http.post(JOBS, json={"code": "1"})).json()
    asking = asyncio.create_task(http.get(f"{JOBS}/{job['id']}", headers={"prefer": "wait=30"}))
    await asyncio.sleep(0)
    await backend.jobs.end(JobId(job["id"]), DONE)
    assert (await asking).json()["state"] == "done"


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ([], 0),
        ([b"wait=5"], 5),
        ([b"Wait = 5 ; x=1"], 5),
        ([b'handling=lenient, wait="7"'], 7),
        ([b"respond-async", b"wait=8"], 8),
        ([b"wait=999999"], LONGEST_S),
        ([b"waiting=3"], 0),
    ],
)
def test_a_preference_is_read_as_the_rfc_writes_it(given: list[bytes], seconds: int) -> None:
    assert wait_of([(b"prefer", value) for value in given]) == seconds


@pytest.mark.parametrize(
    "given", [b"wait", b"wait=", b"wait=-1", b"wait=1.5", b"wait=1_0", b"wait=9999999999", b"wait=\xb2"]
)
def test_a_wait_that_is_no_number_of_seconds_is_refused(given: bytes) -> None:
    with pytest.raises(RequestError, match="whole number of seconds"):
        wait_of([(b"prefer", given)])
