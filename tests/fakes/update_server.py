"""A web server on loopback that offers what a `Publisher` publishes, with the faults that a test asks for."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec

from tests.fakes.update_publisher import TARGET, Publisher
from updates.trust.answer import Answer, KeysAnswer, Offer, Platform


@dataclass
class Faults:
    status: int = 200
    """Of an update check."""
    file_status: int = 200
    redirect: str = ""
    endless: bool = False
    """The file never ends, and no length is given."""
    cut_after: int = 0
    """The first transfers end after so many bytes; one each."""
    cuts: int = 1
    no_ranges: bool = False
    wrong_range: bool = False
    other_bytes: bytes = b""
    """In the file's place."""
    slow_keys_s: float = 0.0
    """Before each answer with keys."""
    answer: bytes = b""
    """In the answer's place."""


@dataclass
class Served:
    url: str
    publisher: Publisher
    faults: Faults = field(default_factory=Faults)
    file: Path | None = None
    """Served instead of the publisher's own."""
    asked: list[str] = field(default_factory=list)
    """`PATH RANGE`."""


@contextmanager
def serving(publisher: Publisher) -> Iterator[Served]:
    served = Served("", publisher)

    class Handler(_Handler):
        here = served

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    here: Served

    def do_GET(self) -> None:
        here, span = self.here, self.headers.get("range", "")
        here.asked.append(f"{self.path} {span}".strip())
        if here.faults.redirect:
            self.send_response(302)
            self.send_header("location", here.faults.redirect)
            self.end_headers()
        elif self.path.startswith("/files/") and here.faults.file_status != 200:
            self.send_response(here.faults.file_status)
            self.end_headers()
        elif self.path.startswith("/files/"):
            self._file(int(span.removeprefix("bytes=").rstrip("-") or 0))
        elif self.path.startswith("/updates/keys/"):
            time.sleep(here.faults.slow_keys_s)
            signed = here.publisher.keys()
            texts = tuple(each.decode() for each in signed.signatures)
            self._body(msgspec.json.encode(KeysAnswer(keys=signed.data.decode(), signatures=texts)))
        elif here.faults.status != 200:
            self.send_response(here.faults.status)
            self.end_headers()
        else:
            self._body(here.faults.answer or _answer(here.publisher))

    def _body(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _file(self, start: int) -> None:
        faults = self.here.faults
        source = self.here.file
        size = source.stat().st_size if source else len(faults.other_bytes or self.here.publisher.file)
        start = 0 if faults.no_ranges or faults.endless else start
        if start >= size:
            self.send_response(416)
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start + faults.wrong_range}-{size - 1}/{size}")
        if not faults.endless:
            self.send_header("content-length", str(size - start))
        self.end_headers()
        try:
            self._pour(start, size)
        except OSError:
            return  # it had enough
        finally:
            self.close_connection = True

    def _pour(self, start: int, size: int) -> None:
        faults = self.here.faults
        if faults.cut_after and faults.cuts:
            faults.cuts -= 1
            size = start + faults.cut_after
        if self.here.file is not None:
            with self.here.file.open("rb") as file:
                file.seek(start)
                while start < size and (piece := file.read(min(1 << 20, size - start))):
                    self.wfile.write(piece)
                    start += len(piece)
            return
        data = faults.other_bytes or self.here.publisher.file
        self.wfile.write(data[start:size])
        while faults.endless:
            self.wfile.write(b"\0" * 65536)

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


def _answer(publisher: Publisher) -> bytes:
    offer = publisher.offer()
    return msgspec.json.encode(
        Answer(
            version=publisher.version,
            notes="",
            pub_date="",
            platforms={TARGET: Platform("", "")},
            gogrid=Offer(
                key_epoch=publisher.epoch,
                release_seq=publisher.seq,
                ts_seq=publisher.ts_seq,
                timestamp=offer.timestamp.data.decode(),
                timestamp_signature=offer.timestamp.signature.decode(),
                release=offer.release.data.decode(),
                release_signature=offer.release.signature.decode(),
            ),
        )
    )
