"""Memberships of workers whose coordinator does not answer."""

from datetime import UTC, datetime
from pathlib import Path

from gogrid.addresses import Address
from gogrid.identity import create_identity, create_worker_key
from gogrid.ids import WorkerId
from runner.link.membership import Membership, save_membership


def membership_of_the_gone() -> Membership:
    """Of the worker `here` at the coordinator `gone`: an address at which nobody listens."""
    identity = create_identity("gone", datetime.now(UTC))
    return Membership(
        worker_id=WorkerId("wk_0000000000000000"),
        worker_name="here",
        key=create_worker_key(),
        pin=identity.pin,
        identity_pem=identity.pem,
        coordinator_name="gone",
        addresses=(Address("127.0.0.1", 9),),
        https_port=9,
    )


def joined(data: Path) -> Path:
    """Make `data` the folder of a worker that has joined a coordinator which does not answer."""
    save_membership(data / "state", membership_of_the_gone())
    return data
