"""HTTP to one coordinator: typed answers, one error tree, TLS that trusts one certificate.

Promises: nothing is sent before the pinned certificate was proved; redirects are not followed; whatever httpx raises
leaves as a `ClientError`; a refusal carries the coordinator's own sentence and code.
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import TypedDict, TypeVar, Unpack

import httpx
import msgspec

import gogrid
from gogrid.client.errors import AnswerError, RefusedError
from gogrid.client.profile import Profile
from gogrid.client.reach import not_text, reachable, usable_proxies
from gogrid.client.sse import EventDecoder, ServerEvent
from gogrid.client.trust import pinned_context

T = TypeVar("T")

SILENCE_S = 60.0
"""A coordinator comments its silent streams every 15 s: this much silence is a lost connection."""
_CONNECT_S = 10.0
_ERROR_BYTES = 64 << 10
_CHUNK_BYTES = 256 << 10


class _More(TypedDict, total=False):
    params: tuple[tuple[str, str], ...]
    timeout_s: float
    """Longest silence."""
    headers: dict[str, str]
    content: bytes
    """A body that is no JSON value; needs a content-type."""
    commented: Callable[[str], None]
    """Of a stream: told what it says beside its events."""


class _Request(TypedDict, total=False):
    """What `httpx.Client.stream` is told."""

    content: bytes
    data: dict[str, str]
    files: list[tuple[str, tuple[str, bytes, str]]]
    headers: dict[str, str]
    params: tuple[tuple[str, str], ...]
    timeout: httpx.Timeout


class _ErrorDetail(msgspec.Struct):
    message: str
    code: str | None = None


class _ErrorBody(msgspec.Struct):
    error: _ErrorDetail


class Connection:
    """Requests to the coordinator of one profile; closes with `close`."""

    def __init__(self, profile: Profile) -> None:
        """Raises: ProfileError, if the certificate or a proxy of the environment is not usable."""
        plain = profile.certificate is None
        self.url = profile.url
        pinned = True if profile.certificate is None else pinned_context(profile.certificate)
        with usable_proxies():
            self._http = httpx.Client(
                base_url=profile.url,
                headers={"authorization": f"Bearer {profile.key}", "user-agent": f"gogrid/{gogrid.__version__}"},
                verify=pinned,
                # A proxy named in the environment must never see a key in plain text.
                trust_env=not plain,
                timeout=_timeout(SILENCE_S),
            )

    def close(self) -> None:
        self._http.close()

    def call(self, method: str, path: str, answer: type[T], *, body: object = None, **more: Unpack[_More]) -> T:
        """One request with a typed JSON answer.

        Raises:
            UnreachableError, RefusedError, AnswerError, NotTextError
        """
        with self._send(method, path, _request(body, more)) as response:
            return _decoded(response.read(), answer)

    def upload(
        self, path: str, answer: type[T], *, job: object, files: Mapping[str, bytes], headers: Mapping[str, str]
    ) -> T:
        """One form with a `job` field in JSON and the files; raises like `call`."""
        form: _Request = {
            "data": {"job": encoded(job).decode()},
            "files": [("files", (name, content, "application/octet-stream")) for name, content in files.items()],
            "headers": dict(headers),
        }
        with self._send("POST", path, form) as response:
            return _decoded(response.read(), answer)

    def events(
        self, method: str, path: str, *, body: object = None, **more: Unpack[_More]
    ) -> Generator[ServerEvent, None, None]:
        """A stream of server-sent events; closing the iterator closes the connection. Raises like `call`."""
        request = _request(body, more)
        request["headers"] = {**request.get("headers", {}), "accept": "text/event-stream"}
        with self._send(method, path, request) as response:
            if not response.headers.get("content-type", "").startswith("text/event-stream"):
                raise AnswerError(f"{self.url} answered {path} with something that is not an event stream.")
            decoder = EventDecoder(more.get("commented"))
            for chunk in response.iter_bytes():
                yield from decoder.feed(chunk)

    def content(self, path: str) -> Generator[bytes, None, None]:
        """A file's bytes.

        Raises:
            UnreachableError, RefusedError
        """
        with self._send("GET", path, {}) as response:
            yield from response.iter_bytes(_CHUNK_BYTES)

    @contextmanager
    def _send(self, method: str, path: str, request: _Request) -> Iterator[httpx.Response]:
        with reachable(self.url), self._http.stream(method, path, **request) as response:
            if not response.is_success:
                raise _refusal(response)
            yield response


def encoded(value: object) -> bytes:
    """A value to be sent, as JSON. Raises: NotTextError."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError as error:
        raise not_text(error) from error


def _request(body: object, more: _More) -> _Request:
    request: _Request = {"timeout": _timeout(more.get("timeout_s", SILENCE_S)), "params": more.get("params", ())}
    request["headers"] = dict(more.get("headers", {}))
    if "content" in more:
        request["content"] = more["content"]
    elif body is not None:
        request["content"] = encoded(body)
        request["headers"]["content-type"] = "application/json"
    return request


def _timeout(silence_s: float) -> httpx.Timeout:
    return httpx.Timeout(silence_s, connect=_CONNECT_S)


def _refusal(response: httpx.Response) -> RefusedError:
    status, data = response.status_code, bytearray()
    for chunk in response.iter_bytes():
        data += chunk
        if len(data) > _ERROR_BYTES:
            break
    try:
        detail = msgspec.json.decode(data, type=_ErrorBody).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Not GoGrid's own answer: a proxy's, or another server's.
        detail = _ErrorDetail(f"{response.url.copy_with(query=None)} answered {status}, which is not what GoGrid says.")
    retry = response.headers.get("retry-after", "")
    return RefusedError(
        detail.message,
        status=status,
        code=detail.code or f"http_{status}",
        retry_after_s=int(retry) if retry.isascii() and retry.isdecimal() and len(retry) < 8 else None,
    )


def _decoded(data: bytes, answer: type[T]) -> T:
    try:
        return msgspec.json.decode(data, type=answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise AnswerError(f"The coordinator's answer is not what this version of GoGrid expects: {error}.") from error


def decoded_event(event: ServerEvent, answer: type[T]) -> T:
    """An event's data, typed. Raises: RefusedError if it carries an error; AnswerError."""
    data = event.data.encode()
    if event.kind == "error" or event.data.startswith('{"error"'):
        detail = _decoded(data, _ErrorBody).error
        raise RefusedError(detail.message, status=0, code=detail.code or "error")
    return _decoded(data, answer)
