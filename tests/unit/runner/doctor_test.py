"""`doctor` tells what is wrong from what is not."""

from pathlib import Path

from gogrid.addresses import Address
from gogrid.identity import create_worker_key
from gogrid.ids import WorkerId
from gogrid.places import WorkerPlaces
from runner.config import load_config
from runner.doctor import Check, examine, findings_text
from runner.link.membership import Membership, load_membership, save_membership
from tests.fakes.blob_server import BlobServer


def membership(server: BlobServer) -> Membership:
    return Membership(
        worker_id=WorkerId("wk_1"),
        worker_name="here",
        key=create_worker_key(),
        pin=server.identity.pin,
        identity_pem=server.identity.pem,
        coordinator_name="office",
        addresses=(Address("127.0.0.1", server.port),),
        https_port=server.port,
    )


async def test_blocked_udp_is_told_from_a_coordinator_that_is_down(tmp_path: Path) -> None:
    places = WorkerPlaces(tmp_path / "config.toml", tmp_path, tmp_path / "s", tmp_path / "a")
    config = load_config(places, flags={}, environment={})
    with BlobServer(tmp_path).running() as server:
        save_membership(places.state, membership(server))
        checks = {check.name: check for check in await examine(config, places)}
        assert not checks["UDP (QUIC)"].ok
        assert checks["TCP (HTTPS)"].ok
        assert checks["clock"].ok
        assert checks["coordinator"].finding.startswith("office, pin ")
    checks = {check.name: check for check in await examine(config, places)}
    assert not checks["UDP (QUIC)"].ok
    assert not checks["TCP (HTTPS)"].ok


def test_findings_stand_in_columns() -> None:
    checks = (Check("disk", True, "much"), Check("UDP (QUIC)", False, "no answer"))
    assert findings_text(checks) == "ok     disk        much\nWRONG  UDP (QUIC)  no answer"


def test_a_membership_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    with BlobServer(tmp_path).running() as server:
        saved = membership(server)
    assert load_membership(tmp_path / "state") is None
    save_membership(tmp_path / "state", saved)
    found = load_membership(tmp_path / "state")
    assert found is not None
    assert found.key.private_bytes_raw() == saved.key.private_bytes_raw()
    assert (found.pin, found.addresses, found.https_port) == (saved.pin, saved.addresses, saved.https_port)
