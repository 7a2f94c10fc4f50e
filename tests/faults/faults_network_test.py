"""Datagrams get lost, late, twice, out of order and changed (R12, R15)."""

import asyncio
import time

import pytest

from gogrid.addresses import Address
from runner.link.coordinator_link import CoordinatorLink, Credentials
from tests.fakes.quic_grid import WorkerNotes, coordinator, wait_until
from tests.faults.conftest import Form, full_form
from tests.faults.faultgrid import FaultGrid
from tests.faults.figures import Row, Table, percentile
from tests.faults.impairment import Conditions
from tests.faults.load import Order
from tests.faults.proxy import UdpProxy

HANDSHAKE_S = 10.0
_LOAD = Order(submitters=3, open_jobs=6)
_NETWORKS = {
    "loss 2 %": Conditions(loss=0.02),
    "loss in bursts": Conditions(burst=0.005, burst_length=8),
    "rtt 750 ms": Conditions(delay_s=0.375),
    "corrupt 2 %": Conditions(corrupt=0.02),
    "corrupt 30 %": Conditions(corrupt=0.3),
    "twice and out of order": Conditions(duplicate=0.1, reorder=0.1, jitter_s=0.01),
    "everything a little": Conditions(
        0.01, 0.01, 0.02, burst=0.002, burst_length=4, duplicate=0.05, reorder=0.05, corrupt=0.02
    ),
}


@pytest.mark.sandbox
@pytest.mark.fault("network")
@pytest.mark.parametrize("name", full_form(_NETWORKS, keep=("everything a little",)))
def test_jobs_are_done_exactly_once_over_a_bad_network(pair: FaultGrid, form: Form, table: Table, name: str) -> None:
    """Streamed answers too: nothing changed, missing or out of place is ever shown."""
    for proxy in pair.proxies.values():
        proxy.conditions(_NETWORKS[name], _NETWORKS[name])
    before = [lane.tally.given for proxy in pair.proxies.values() for lane in (proxy.up, proxy.down)]
    seconds = form.pick(3.0, 10.0)
    load = pair.load(f"network {name}", _LOAD)
    begun = time.monotonic()
    time.sleep(seconds)
    verdict = pair.judge(load, 90)
    after = [lane.tally.given for proxy in pair.proxies.values() for lane in (proxy.up, proxy.down)]
    others = {
        "acknowledged": verdict.acknowledged,
        "datagrams": sum(after) - sum(before),
        "until all was done s": time.monotonic() - begun,
    }
    table.add(Row(f"network: {name}", 1, "lost 0, all done", verdict.clean, verdict, others))
    assert verdict.clean, verdict.examples
    assert verdict.acknowledged


@pytest.mark.fault("handshake_loss")
async def test_workers_connect_although_three_of_ten_handshake_packets_are_lost(form: Form, table: Table) -> None:
    """Each both ways; timed from the first packet to the coordinator's welcome, with the link's own retries."""
    count, took = form.pick(8, 100), []
    async with coordinator() as grid:
        with UdpProxy(grid.server.port, seed=5) as proxy:
            proxy.conditions(Conditions(handshake_loss=0.3), Conditions(handshake_loss=0.3))
            address = Address("127.0.0.1", proxy.port)
            for _ in range(count // 4):
                took += await asyncio.gather(*(_connect(grid.credentials(), address) for _ in range(4)))
    others = {"p50 s": percentile(took, 0.5), "p99 s": percentile(took, 0.99), "max s": max(took)}
    met = max(took) <= HANDSHAKE_S
    table.add(Row("handshake_loss", count, "connected within 10 s", met, None, others))
    assert max(took) <= HANDSHAKE_S


async def _connect(credentials: Credentials, address: Address) -> float:
    notes = WorkerNotes()
    begun = time.monotonic()
    task = asyncio.create_task(CoordinatorLink([address], credentials, notes).run())
    try:
        await wait_until(lambda: bool(notes.welcomes), task, 60.0)
        return time.monotonic() - begun
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
