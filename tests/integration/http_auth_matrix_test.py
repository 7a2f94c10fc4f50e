"""Who may do what: every endpoint with no key, a bad one, a wrong scope and a good one; and nothing open by mistake."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from coordinator.http.app import create_app
from coordinator.records import JobKind
from gogrid.ids import KeyId
from tests.fakes.backend import (
    ADMIN,
    CHAT,
    EMBED,
    INFERENCE_ONLY,
    JOBS_ONLY,
    OTHER,
    TICKET,
    USER,
    Backend,
)

CHAT_BODY = {"model": CHAT, "messages": [{"role": "user", "content": "x"}]}
BLOB = "/blobs/" + "ab" * 32
PUBLIC = ["/healthz", "/readyz", "/version", "/identity.pem", "/downloads", "/downloads/style.css"]
GUARDED = [
    # method, path, body, a key that may, a key whose scope is wrong (None: any key may)
    ("POST", "/v1/chat/completions", CHAT_BODY, USER, JOBS_ONLY),
    ("POST", "/v1/completions", {"model": CHAT, "prompt": "x"}, USER, JOBS_ONLY),
    ("POST", "/v1/embeddings", {"model": EMBED, "input": "x"}, USER, JOBS_ONLY),
    ("GET", "/v1/models", None, USER, JOBS_ONLY),
    ("GET", f"/v1/models/{CHAT}", None, USER, JOBS_ONLY),
    ("POST", "/api/v1/jobs", {"code": "1"}, USER, INFERENCE_ONLY),
    ("GET", "/api/v1/jobs", None, USER, INFERENCE_ONLY),
    ("GET", "/api/v1/jobs/JOB", None, USER, INFERENCE_ONLY),
    ("DELETE", "/api/v1/jobs/JOB", None, USER, INFERENCE_ONLY),
    ("GET", "/api/v1/jobs/JOB/logs?follow=false", None, USER, INFERENCE_ONLY),
    ("GET", "/api/v1/workers", None, USER, None),
    ("GET", "/api/v1/models", None, USER, None),
    ("GET", "/metrics", None, ADMIN, USER),
    ("GET", "/docs", None, USER, None),
    ("GET", "/docs/openapi.json", None, USER, None),
]


@pytest.fixture
def backend(tmp_path: Path) -> Backend:
    return Backend(tmp_path)


@pytest.fixture
async def http(backend: Backend) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(backend.services))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


def own_job(backend: Backend, path: str) -> str:
    return path.replace("JOB", backend.jobs.add(KeyId("key_user"), JobKind.PYTHON, "x", None).id)


@pytest.mark.parametrize("path", PUBLIC)
async def test_health_version_and_identity_need_no_key(http, path):
    reply = await http.get(path)
    assert reply.status_code == 200
    assert reply.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize(("method", "path", "body", "good", "wrong"), GUARDED)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer ggk_wrong"},
        {"authorization": "Bearer "},
        {"authorization": f"Basic {USER}"},
        {"authorization": f"Bearer {TICKET}"},
        {"authorization": f"Bearer {USER}", "x-api-key": OTHER},
        {"cookie": f"key={USER}"},
        {"x-api-key": "ß" * 9},
    ],
    ids=["none", "bad", "empty", "basic", "ticket", "two", "cookie", "not-ascii"],
)
async def test_no_key_or_a_bad_one_is_a_401_with_a_challenge(http, backend, method, path, body, good, wrong, headers):
    coded = {name: value.encode("latin-1") for name, value in headers.items()}
    reply = await http.request(method, own_job(backend, path), json=body, headers=coded)
    assert reply.status_code == 401
    assert reply.headers["www-authenticate"].startswith("Bearer")
    assert reply.json()["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize(("method", "path", "body", "good", "wrong"), GUARDED)
async def test_good_key_passes_and_wrong_scope_is_a_403(http, backend, method, path, body, good, wrong):
    path = own_job(backend, path)
    if wrong is not None:
        refused = await http.request(method, path, json=body, headers={"authorization": f"Bearer {wrong}"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "insufficient_scope")
    for key in (good, ADMIN):
        passed = await http.request(method, path, json=body, headers={"authorization": f"Bearer {key}"})
        assert passed.status_code in (200, 201), passed.text


async def test_every_address_but_the_public_ones_is_guarded_also_those_that_do_not_exist(http):
    for path in ("/nope", "/v1", "/docs/x", "/schema", "/api/v1/jobs/", "/healthz/x", BLOB, "/metrics/"):
        for method in ("GET", "POST", "OPTIONS", "DELETE", "PUT"):
            assert (await http.request(method, path)).status_code == 401, (method, path)


async def test_keys_in_the_address_open_nothing(http):
    for name in ("key", "api_key", "access_token"):
        assert (await http.get(f"/v1/models?{name}={USER}")).status_code == 401


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_foreign_job_is_a_404_like_one_that_is_not_there(http, backend, method):
    path = own_job(backend, "/api/v1/jobs/JOB")
    foreign = await http.request(method, path, headers={"x-api-key": OTHER})
    missing = await http.request(method, "/api/v1/jobs/job_" + "0" * 32, headers={"x-api-key": OTHER})
    assert foreign.status_code == missing.status_code == 404
    assert foreign.json()["error"]["code"] == missing.json()["error"]["code"]
    for tail in ("/logs", "/files/out.txt"):
        assert (await http.get(path + tail, headers={"x-api-key": OTHER})).status_code == 404
    assert (await http.get(path, headers={"x-api-key": ADMIN})).status_code == 200


async def test_lists_show_own_jobs_only_and_admins_all(http, backend):
    own_job(backend, "JOB")
    backend.jobs.add(KeyId("key_other"), JobKind.PYTHON, "theirs", None)
    counts = {
        key: len((await http.get("/api/v1/jobs", headers={"x-api-key": key})).json()["data"])
        for key in (USER, OTHER, JOBS_ONLY, ADMIN)
    }
    assert counts == {USER: 1, OTHER: 1, JOBS_ONLY: 0, ADMIN: 2}


async def test_worker_addresses_are_shown_to_admins_only(http):
    for key, shown in ((USER, None), (ADMIN, "203.0.113.7:51820")):
        data = (await http.get("/api/v1/workers", headers={"x-api-key": key})).json()["data"]
        assert data[0]["remote"] == shown


async def test_api_keys_open_no_blobs_and_tickets_open_nothing_else(http, backend):
    backend.live.fetchable.add("ab" * 32)
    for key in (USER, ADMIN):
        assert (await http.get(BLOB, headers={"authorization": f"Bearer {key}"})).status_code == 401
    assert (await http.get("/v1/models", headers={"authorization": f"Bearer {TICKET}"})).status_code == 401


async def test_unready_names_what_is_missing(http, backend):
    backend.live.missing = ["no worker is connected"]
    reply = await http.get("/readyz")
    assert reply.status_code == 503
    assert reply.json() == {"ready": False, "missing": ["no worker is connected"]}
    assert (await http.get("/healthz")).status_code == 200


async def test_metrics_are_prometheus_text(http):
    reply = await http.get("/metrics", headers={"x-api-key": ADMIN})
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "gogrid_jobs_queued 1.0" in reply.text
    assert 'gogrid_tokens_total{direction="out"} 7.0' in reply.text


async def test_docs_name_every_endpoint_load_nothing_from_elsewhere_and_can_be_off(http, backend):
    document = (await http.get("/docs/openapi.json", headers={"x-api-key": USER})).json()
    for path in ("/v1/chat/completions", "/v1/embeddings", "/api/v1/jobs", "/api/v1/jobs/{job_id}/logs"):
        assert path in document["paths"]
    assert "ChatRequest" in document["components"]["schemas"]
    page = (await http.get("/docs", headers={"x-api-key": USER})).text
    assert "//" not in page.replace("<!doctype", "")
    assert "<script" not in page
    object.__setattr__(services := backend.services, "docs", False)
    transport = httpx.ASGITransport(create_app(services))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as off:
        assert (await off.get("/docs", headers={"x-api-key": USER})).status_code == 404


async def test_every_answer_carries_the_security_headers(http):
    for path in ("/healthz", "/nope", "/v1/models"):
        headers = (await http.get(path, headers={"x-api-key": USER})).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "server" not in headers


async def test_unknown_address_and_method_have_openai_error_bodies(http):
    missing = await http.get("/v1/nope", headers={"x-api-key": USER})
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")
    for method, path in (("GET", "/v1/chat/completions"), ("PUT", "/v1/models"), ("POST", "/api/v1/jobs/x/logs")):
        wrong = await http.request(method, path, headers={"x-api-key": USER})
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")
        assert wrong.headers["allow"]


async def test_an_unexpected_failure_is_a_bare_500_whose_cause_stays_in_the_log(http, backend, caplog):
    def broken(*_: object) -> list[object]:
        raise ZeroDivisionError("a secret of the inside")

    backend.requests.script = broken
    backend.catalogue.models = broken
    for request in (
        http.post("/v1/chat/completions", json=CHAT_BODY, headers={"x-api-key": USER}),
        http.get("/v1/models", headers={"x-api-key": USER}),
    ):
        reply = await request
        assert (reply.status_code, reply.json()["error"]["code"]) == (500, "internal")
        assert "secret" not in reply.text
    assert [record.exc_info[0] for record in caplog.records] == [ZeroDivisionError] * 2
