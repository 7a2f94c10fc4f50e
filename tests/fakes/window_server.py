"""The window's page over loopback HTTP, with the same document and the same dispatcher as the real window."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tray.instance_messages import Page
from tray.window.bridge.dispatch import Dispatcher
from tray.window.document import document


@contextmanager
def window_server(dispatcher: Dispatcher) -> Iterator[str]:
    """The address; `?page=logs` picks a page."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page: Page = self.path.rpartition("page=")[2] if "page=" in self.path else "settings"  # type: ignore[assignment]
            if self.path == "/favicon.ico":
                self._send(b"", "image/x-icon")
            else:
                self._send(document(page, "http").encode(), "text/html; charset=utf-8")

        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["Content-Length"]))
            self._send(dispatcher.answer(asked).encode(), "application/json")

        def _send(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
