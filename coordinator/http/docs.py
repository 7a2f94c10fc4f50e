"""`/docs`: the API's description, served without anything from elsewhere.

The endpoints that do not pass through Litestar are added to the OpenAPI document from the very structs that parse them.
"""

from html import escape
from typing import Any

import msgspec
from litestar import MediaType, Request
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import OpenAPIRenderPlugin

from coordinator.http.errors import ErrorBody
from coordinator.http.job_schema import JobRequest
from coordinator.http.job_shapes import JobShape
from coordinator.http.openai_replies import ChatReply, EmbeddingReply, TextReply
from coordinator.http.openai_schema import ChatRequest, CompletionRequest, EmbeddingRequest
from gogrid import __version__

_LEAN: dict[str, tuple[str, type[msgspec.Struct], type[msgspec.Struct]]] = {
    "/v1/chat/completions": ("Answer a conversation, whole or streamed", ChatRequest, ChatReply),
    "/v1/completions": ("Continue a text, whole or streamed", CompletionRequest, TextReply),
    "/v1/embeddings": ("Turn texts into vectors", EmbeddingRequest, EmbeddingReply),
    "/api/v1/jobs": ("Submit a job; with Prefer: wait=SECONDS, answer when it has ended", JobRequest, JobShape),
}
_RAW = {
    "/api/v1/jobs/{job_id}/logs": "A job's output as server-sent events",
    "/api/v1/jobs/{job_id}/files/{name}": "One output file of a job",
    "/api/v1/jobs/{job_id}/result": "What came of a job, as its OpenAI endpoint would have answered",
}
_OPEN = {
    "/updates/{target}/{current_version}": "Whether there is a newer release: Tauri's manifest, signed documents",
    "/updates/keys/{epoch}": "The publisher's keys of an epoch, with the root keys' signatures",
    "/files/{sha256}/{name}": "A file of a release, whole or by range",
    "/downloads": "The page with the installers",
}
"""Without a key."""
_ANYTHING = {"description": "Accepted only where it asks for nothing, or ignored."}
_REF = "#/components/schemas/{name}"
_Schema = dict[str, Any]  # JSON Schema has no narrower type


def docs_config() -> OpenAPIConfig:
    return OpenAPIConfig(
        title="GoGrid coordinator",
        version=__version__,
        path="/docs",
        use_handler_docstrings=True,
        render_plugins=[_Page(path="/"), _Document(path="/openapi.json")],
    )


class _Document(OpenAPIRenderPlugin):
    def __init__(self, path: str) -> None:
        super().__init__(path=path, media_type=MediaType.JSON)

    def render(self, request: Request[Any, Any, Any], openapi_schema: _Schema) -> bytes:
        return msgspec.json.encode(complete(openapi_schema))


class _Page(OpenAPIRenderPlugin):
    def __init__(self, path: str) -> None:
        super().__init__(path=path, media_type=MediaType.HTML)

    def render(self, request: Request[Any, Any, Any], openapi_schema: _Schema) -> bytes:
        rows = [
            f"<tr><td><code>{escape(method.upper())} {escape(path)}</code></td><td>{escape(_says(operation))}</td></tr>"
            for path, item in sorted(complete(openapi_schema)["paths"].items())
            for method, operation in item.items()
        ]
        page = (
            "<!doctype html><html lang=en><meta charset=utf-8><title>GoGrid API</title><h1>GoGrid API</h1>"
            "<p>Send <code>Authorization: Bearer ggk_…</code>. The whole description is in "
            "<a href=/docs/openapi.json>openapi.json</a>.</p><table>" + "".join(rows) + "</table></html>"
        )
        return page.encode()


def complete(document: _Schema) -> _Schema:
    """Litestar's document with the lean endpoints added."""
    types = [*(struct for _, *pair in _LEAN.values() for struct in pair), ErrorBody]
    _, components = msgspec.json.schema_components(types, ref_template=_REF, schema_hook=lambda _: dict(_ANYTHING))
    paths: _Schema = {**document.get("paths", {})}
    for path, what in _LEAN.items():
        paths[path] = {**paths.get(path, {}), "post": _operation(*what)}
    paths |= {path: {"get": {"summary": summary, "responses": _failures()}} for path, summary in _RAW.items()}
    paths |= {path: {"get": {"summary": words, "responses": {}, "security": []}} for path, words in _OPEN.items()}
    old = document.get("components", {})
    merged = {**document, "paths": paths}
    merged["components"] = {
        **old,
        "schemas": {**components, **old.get("schemas", {})},
        "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
    }
    merged["security"] = [{"key": []}]
    if "/api/v1/jobs/bulk" in merged["paths"]:
        merged["paths"]["/api/v1/jobs/bulk"]["post"]["requestBody"] = _lines(JobRequest)
    return merged


def _operation(summary: str, takes: type[msgspec.Struct], gives: type[msgspec.Struct]) -> _Schema:
    given = {"200": {"description": summary, "content": _json(gives)}}
    return {"summary": summary, "requestBody": _body(takes), "responses": {**given, **_failures()}}


def _body(takes: type[msgspec.Struct]) -> _Schema:
    return {"required": True, "content": _json(takes)}


def _json(struct: type[msgspec.Struct]) -> _Schema:
    return {"application/json": {"schema": {"$ref": _REF.format(name=struct.__name__)}}}


def _lines(of: type[msgspec.Struct]) -> _Schema:
    """One JSON object a line."""
    schema = {"$ref": _REF.format(name=of.__name__)}
    return {"required": True, "content": {"application/jsonl": {"schema": schema}}}


def _failures() -> _Schema:
    return {"default": {"description": "What is wrong, in one sentence", "content": _json(ErrorBody)}}


def _says(operation: _Schema) -> str:
    text = operation.get("description") or operation.get("summary") or ""
    return str(text).split("\n", 1)[0]
