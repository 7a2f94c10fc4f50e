"""A small real HTTPS server that serves blobs by hash as the coordinator does, and can be told to misbehave."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from gogrid.identity import client_context, create_identity, issue_leaf, save_leaf, server_context
from gogrid.ids import Sha256
from runner.models.blobs import Access

TICKET = "ticket-of-this-session"


class BlobServer:
    """Set the attributes to change what it does; read `requests` for what was asked."""

    def __init__(self, folder: Path) -> None:
        self.blobs: dict[str, bytes] = {}
        self.stored: dict[str, bytes] = {}
        self.requests: list[tuple[str, str, str]] = []
        """(method, hash, Range header) in the order they came."""
        self.cut_after: int | None = None
        """Close the connection of the next GET after so many bytes; once."""
        self.hold: threading.Event | None = None
        """GETs wait for it."""
        self.identity = identity = create_identity("fake coordinator", datetime.now(UTC))
        leaf = issue_leaf(identity, ["localhost"], datetime.now(UTC))
        save_leaf(leaf, folder / "chain.pem", folder / "leaf.pem")
        self.trust = client_context(identity.pem)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        context = server_context(folder / "chain.pem", folder / "leaf.pem")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])

    def add(self, data: bytes) -> Sha256:
        digest = Sha256(hashlib.sha256(data).hexdigest())
        self.blobs[digest] = data
        return digest

    def access(self) -> Access:
        return Access("127.0.0.1", self.port, TICKET, self.trust)

    @contextmanager
    def running(self) -> Iterator["BlobServer"]:
        thread = threading.Thread(target=lambda: self._server.serve_forever(poll_interval=0.02))
        thread.start()
        try:
            yield self
        finally:
            if self.hold is not None:
                self.hold.set()
            self._server.shutdown()
            thread.join()
            self._server.server_close()


def _handler(blobs: BlobServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            wanted, span = self.path.removeprefix("/blobs/"), self.headers.get("Range", "")
            if self.path == "/healthz":
                self._answer(200)
                return
            blobs.requests.append(("GET", wanted, span))
            if not self._allowed():
                return
            if blobs.hold is not None:
                blobs.hold.wait(10)
            data = blobs.blobs.get(wanted)
            if data is None:
                self._answer(404)
                return
            start = int(span.removeprefix("bytes=").rstrip("-")) if span else 0
            if start and start >= len(data):
                self._answer(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(data) - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.end_headers()
            body, cut = data[start:], blobs.cut_after
            if cut is not None:
                blobs.cut_after = None
                self.wfile.write(body[:cut])
                self.close_connection = True
                return
            self.wfile.write(body)

        def do_PUT(self) -> None:
            name = self.path.removeprefix("/blobs/")
            blobs.requests.append(("PUT", name, ""))
            data = self.rfile.read(int(self.headers["Content-Length"]))
            if self._allowed():
                blobs.stored[name] = data
                self._answer(201)

        def _allowed(self) -> bool:
            allowed = self.headers.get("Authorization") == f"Bearer {TICKET}"
            if not allowed:
                self._answer(401)
            return allowed

        def _answer(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

    return Handler
