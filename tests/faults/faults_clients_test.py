"""Clients that stop reading, and clients that are gone (R18)."""

import contextlib
import json
import socket
import struct
import time

import psutil
import pytest

from tests.faults.conftest import Form
from tests.faults.faultgrid import FaultGrid, within
from tests.faults.figures import Row, Table

pytestmark = pytest.mark.sandbox

STALL_S = 30.0
GROWTH_BYTES = 32 << 20
FREED_S = 1.0


def ask(grid: FaultGrid, words: int, delay_ms: int, buffer: int = 0) -> socket.socket:
    """Send a request for a streamed answer, and read nothing of it."""
    said = "#echo chunks={} delay_ms={}\n{}".format(words, delay_ms, "long" * 2000 if buffer else "hello")
    body = json.dumps(
        {"model": "echo", "stream": True, "max_tokens": words, "messages": [{"role": "user", "content": said}]}
    )
    made = socket.socket()
    if buffer:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    made.connect(("127.0.0.1", grid.local.endpoint.plain_port))
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {grid.local.admin_key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    made.sendall(head.encode() + body.encode())
    return made


def running(grid: FaultGrid) -> int:
    return sum(int(str(worker["running"])) for worker in grid.listed().values())


@pytest.mark.soak
@pytest.mark.fault("slow_client")
def test_a_client_that_never_reads_costs_little_memory_and_is_cancelled(pair: FaultGrid, table: Table) -> None:
    """Answers of 24 MB each, of which the client takes not one byte."""
    clients = 20
    process = psutil.Process(pair.local.endpoint.pid)
    before = process.memory_info().rss
    with contextlib.ExitStack() as stalled:
        for _ in range(clients):
            stalled.enter_context(ask(pair, 3000, 1, buffer=4096))
        assert within(20, lambda: running(pair) == clients), pair.listed()
        begun, peak = time.monotonic(), before
        while running(pair) and time.monotonic() - begun < 4 * STALL_S:
            peak = max(peak, process.memory_info().rss)
            time.sleep(0.1)
        freed_s, left = time.monotonic() - begun, running(pair)
    others = {"growth MB": (peak - before) / 1e6, "all cancelled after s": freed_s, "left": left}
    met = not left and peak - before <= GROWTH_BYTES
    table.add(Row("slow_client", clients, "34 MB for all at most, cancelled 30 s after the stall", met, None, others))
    assert left == 0
    assert peak - before <= GROWTH_BYTES


@pytest.mark.fault("vanished_client")
def test_what_vanished_clients_used_is_free_within_a_second(pair: FaultGrid, form: Form, table: Table) -> None:
    """In turn closed properly and reset."""
    clients = form.pick(6, 50)
    with contextlib.ExitStack() as waiting:
        for number in range(clients):
            each = waiting.enter_context(ask(pair, 4000, 20))
            if number % 2:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert within(20, lambda: running(pair) == clients), pair.listed()
    begun = time.monotonic()
    within(10, lambda: running(pair) == 0)
    freed_s, left = time.monotonic() - begun, running(pair)
    met = not left and freed_s <= FREED_S
    table.add(Row("vanished_client", clients, "free within 1 s", met, None, {"free after s": freed_s, "left": left}))
    assert left == 0
    assert freed_s <= FREED_S
