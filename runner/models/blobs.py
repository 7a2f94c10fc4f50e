"""Bulk bytes to and from the coordinator, by their SHA-256, over HTTPS.

Promises: a file appears under its name only when all its bytes are there, verified and on disk; a cut transfer goes on
where it stopped; bytes that are not the ones asked for are thrown away and said so. The TLS context given trusts the
pinned coordinator and nobody else. Runs in threads, so that hashing and disks never hold up the event loop.
"""

import hashlib
import logging
import os
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from gogrid.files import flush_folder
from gogrid.ids import Sha256
from gogrid.protocol.job_messages import FailCode
from gogrid.protocol.tasks import ModelRef
from gogrid.sizes import format_size
from runner.errors import ModelError
from runner.models.disk_trouble import as_no_room
from runner.threads import in_thread

if TYPE_CHECKING:
    import httpx

log = logging.getLogger(__name__)
_CHUNK = 1 << 18
_WAITS_S = (0.2, 1.0, 2.0, 4.0, 8.0)
_TIMEOUT_S = 15.0
_WITHOUT_SESSION_S = 60.0
"""How long a transfer waits for a connection: longer than any job is kept without its coordinator."""
_LOOK_S = 0.2


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach the coordinator's blobs in this session."""

    host: str
    port: int
    ticket: str
    """Bearer; never logged."""
    trust: ssl.SSLContext

    @property
    def base(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://{host}:{self.port}"

    def url(self, sha256: Sha256) -> str:
        return f"{self.base}/blobs/{sha256}"


Moved = Callable[[int], None]
"""Told how many more bytes have arrived; called in the transferring thread. Negative: so many were thrown away."""


class _TransferError(Exception):
    """This attempt failed; another may not."""


class _NoSessionError(_TransferError):
    """There is no connection to the coordinator now; that is no failed attempt."""


class Blobs:
    """Fetches and stores blobs; any number at once."""

    def __init__(
        self,
        access: Callable[[], Access | None],
        waits_s: tuple[float, ...] = _WAITS_S,
        patience_s: float = _WITHOUT_SESSION_S,
    ) -> None:
        """`access` is asked before every attempt: it changes with the session; None: there is no session now."""
        self._access = access
        self._waits_s = waits_s
        self._patience_s = patience_s

    async def fetch(
        self, sha256: Sha256, target: Path, *, max_size: int, exact: bool, moved: Moved, lasting: bool = True
    ) -> None:
        """Make `target` hold the blob.

        Args:
            target: its folder exists; `target` with `.part` added holds what has arrived.
            max_size: bytes; a blob that is longer is refused.
            exact: the blob has exactly `max_size` bytes.
            lasting: it is to be there after a power cut, too.

        Raises:
            ModelError: it cannot be had or kept here, or other bytes came in its place.
        """
        size = max_size if exact else None

        def fetch(stop: threading.Event) -> None:
            with as_no_room(f"the file {sha256[:12]}…"):
                part = self._fetch(sha256, target, max_size, size, moved, stop)
                if lasting:
                    with part.open("rb+") as file:
                        os.fsync(file.fileno())
                part.replace(target)
                if lasting:
                    flush_folder(target.parent)

        await in_thread(fetch, f"blob {sha256[:8]}")

    async def store(self, sha256: Sha256, source: Path) -> None:
        """Give the coordinator the blob that `source` holds. Raises `ModelError`."""
        await in_thread(lambda stop: self._persist(lambda: self._put(sha256, source), stop), f"store {sha256[:8]}")

    def _fetch(
        self, sha256: Sha256, target: Path, max_size: int, size: int | None, moved: Moved, stop: threading.Event
    ) -> Path:
        """Where all its bytes lie, verified."""
        part = target.with_name(target.name + ".part")
        for last in (False, True):
            self._persist(lambda: self._download(sha256, part, max_size, size, moved, stop), stop)
            if _hash(part, stop) == sha256:
                break
            moved(-part.stat().st_size)
            part.unlink()
            log.warning("blob %s came with other bytes than its hash names; thrown away", sha256[:12])
            if last:
                raise ModelError(
                    f"The coordinator's file {sha256[:12]}… is damaged: its bytes do not match its hash.",
                    FailCode.MODEL_UNUSABLE,
                )
        return part

    def _persist(self, attempt: Callable[[], None], stop: threading.Event) -> None:
        waits, patience_s = iter(self._waits_s), self._patience_s
        while not stop.is_set():
            try:
                attempt()
                return
            except _TransferError as error:
                if isinstance(error, _NoSessionError) and patience_s > 0:
                    patience_s -= _LOOK_S
                    stop.wait(_LOOK_S)
                    continue
                wait = next(waits, None)
                if wait is None:
                    raise ModelError(f"The coordinator's files cannot be moved: {error}.", FailCode.INTERNAL) from error
                log.info("transfer interrupted (%s); trying again in %.1f s", error, wait)
                stop.wait(wait)
        raise ModelError("The transfer was stopped.", FailCode.CANCELLED)

    def _download(
        self, sha256: Sha256, part: Path, max_size: int, size: int | None, moved: Moved, stop: threading.Event
    ) -> None:
        have = part.stat().st_size if part.exists() else 0
        if size is not None and have == size:
            part.touch()
            return
        if have > max_size:
            part.unlink()
            have = 0
        headers = {"Range": f"bytes={have}-"} if have else {}
        with self._request("GET", sha256, headers=headers) as response:
            if response.status_code == 416:
                part.unlink(missing_ok=True)
                moved(-have)
                raise _TransferError("the rest of an interrupted transfer is not there any more")
            _check(response, sha256)
            resumed = response.status_code == 206 and _starts_at(response, have)
            if have and not resumed:
                moved(-have)
            with part.open("ab" if resumed else "wb") as file:
                for chunk in response.iter_raw():
                    if stop.is_set():
                        return
                    if file.tell() + len(chunk) > max_size:
                        raise ModelError(
                            f"The coordinator's file {sha256[:12]}… is longer than {format_size(max_size)}.",
                            FailCode.MODEL_UNUSABLE,
                        )
                    file.write(chunk)
                    moved(len(chunk))
                end = file.tell()
        if size is not None and end < size:
            raise _TransferError(f"only {format_size(end)} of {format_size(size)} came")

    def _put(self, sha256: Sha256, source: Path) -> None:
        def chunks() -> Iterator[bytes]:
            with source.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    yield chunk

        headers = {"Content-Length": str(source.stat().st_size), "Content-Type": "application/octet-stream"}
        with self._request("PUT", sha256, headers=headers, content=chunks()) as response:
            _check(response, sha256)

    @contextmanager
    def _request(
        self, method: str, sha256: Sha256, *, headers: dict[str, str], content: Iterator[bytes] | None = None
    ) -> "Iterator[httpx.Response]":
        import httpx  # 7 MB of memory that an idle worker does not pay

        access = self._access()
        if access is None:
            raise _NoSessionError("there is no connection to the coordinator")
        headers = {"Authorization": f"Bearer {access.ticket}", "Accept-Encoding": "identity", **headers}
        try:
            with (
                httpx.Client(verify=access.trust, timeout=_TIMEOUT_S, trust_env=False) as client,
                client.stream(method, access.url(sha256), headers=headers, content=content) as response,
            ):
                yield response
        except httpx.HTTPError as error:
            raise _TransferError(str(error) or type(error).__name__) from error


def _check(response: "httpx.Response", sha256: Sha256) -> None:
    status = response.status_code
    if status in (200, 201, 204, 206):
        return
    if status == 404:
        raise ModelError(f"The coordinator no longer has the file {sha256[:12]}….", FailCode.INTERNAL)
    if status in (413, 507):
        raise ModelError(f"The coordinator refuses the file {sha256[:12]}…: too large.", FailCode.BAD_REQUEST)
    raise _TransferError(f"the coordinator answers {status}")


def _starts_at(response: "httpx.Response", offset: int) -> bool:
    span: str = response.headers.get("content-range", "")
    return span.startswith(f"bytes {offset}-")


def _hash(path: Path, stop: threading.Event) -> Sha256:
    if not path.exists():
        raise ModelError("The transfer was stopped.", FailCode.CANCELLED)
    return hash_file(path, stop)


def hash_file(path: Path, stop: threading.Event | None = None) -> Sha256:
    """SHA-256 of a file's bytes. Raises `ModelError` when `stop` is set meanwhile."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            if stop is not None and stop.is_set():
                raise ModelError("The check of a file was stopped.", FailCode.CANCELLED)
            digest.update(chunk)
    return Sha256(digest.hexdigest())


def smallest_chat_model(access: Access) -> ModelRef | None:
    """The smallest model that can chat, as the coordinator names it; None: it has none. Blocks for seconds.

    Raises:
        ModelError: it does not answer, or not so that this version understands.
    """
    import httpx

    try:
        reply = httpx.get(
            f"{access.base}/blobs/test-model",
            headers={"authorization": f"Bearer {access.ticket}"},
            verify=access.trust,
            timeout=_TIMEOUT_S,
            trust_env=False,
        )
    except httpx.HTTPError as error:
        raise ModelError(
            f"The coordinator does not answer over HTTPS (TCP {access.port}): {error}.", FailCode.INTERNAL
        ) from error
    if reply.status_code == 404:
        return None
    if reply.status_code != 200:
        raise ModelError(f"The coordinator names no model: HTTP {reply.status_code}.", FailCode.INTERNAL)
    try:
        return msgspec.json.decode(reply.content, type=ModelRef)
    except msgspec.MsgspecError as error:
        raise ModelError("The coordinator names a model in a way that is not known here.", FailCode.INTERNAL) from error
