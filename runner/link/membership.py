"""What a worker keeps of the coordinator it has joined: its own key and name there, and whom to trust.

Promises: the private key is written 0600 and refused when others could read it; the file that makes it all count is
written last, so that a join cut short leaves no half membership.
"""

from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gogrid.addresses import Address
from gogrid.errors import IdentityError
from gogrid.identity import load_worker_key, save_worker_key
from gogrid.ids import WorkerId
from gogrid.places import MEMBERSHIP_FILE
from runner.config import WorkerConfig


@dataclass(frozen=True, slots=True)
class Membership:
    worker_id: WorkerId
    worker_name: str
    key: Ed25519PrivateKey
    pin: bytes
    """SHA-256 of the coordinator's identity key, 32 bytes."""
    identity_pem: bytes
    """The coordinator's identity certificate."""
    coordinator_name: str
    addresses: tuple[Address, ...]
    https_port: int


def addresses_of(config: WorkerConfig, membership: Membership) -> tuple[Address, ...]:
    """Where to look for the coordinator: what the settings name first, then what the token named."""
    named = (Address(config.host, config.port),) if config.host is not None else ()
    return named + tuple(address for address in membership.addresses if address not in named)


class _File(msgspec.Struct, frozen=True):
    """`membership.json`."""

    worker_id: WorkerId
    worker_name: str
    pin: str
    """Hexadecimal."""
    coordinator_name: str
    addresses: tuple[tuple[str, int], ...]
    https_port: int


def save_membership(folder: Path, membership: Membership) -> None:
    """Replace whatever `folder` holds of an earlier membership."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    marker = folder / MEMBERSHIP_FILE
    marker.unlink(missing_ok=True)
    save_worker_key(membership.key, folder / "worker.key")
    (folder / "coordinator.pem").write_bytes(membership.identity_pem)
    content = _File(
        membership.worker_id,
        membership.worker_name,
        membership.pin.hex(),
        membership.coordinator_name,
        tuple((address.host, address.port) for address in membership.addresses),
        membership.https_port,
    )
    fresh = folder / ".membership.json"
    fresh.write_bytes(msgspec.json.encode(content))
    fresh.replace(marker)


def load_membership(folder: Path) -> Membership | None:
    """None: this worker has not joined.

    Raises:
        IdentityError: what is there cannot be used.
    """
    path = folder / MEMBERSHIP_FILE
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_File)
        pin = bytes.fromhex(found.pin)
        identity = (folder / "coordinator.pem").read_bytes()
    except FileNotFoundError as error:
        if Path(error.filename or path) == path:
            return None
        raise _damaged(path, error) from error
    except (OSError, msgspec.MsgspecError, ValueError) as error:
        raise _damaged(path, error) from error
    addresses = tuple(Address(host, port) for host, port in found.addresses)
    key = load_worker_key(folder / "worker.key")
    return Membership(
        found.worker_id,
        found.worker_name,
        key,
        pin,
        identity,
        found.coordinator_name,
        addresses,
        found.https_port,
    )


def _damaged(path: Path, error: Exception) -> IdentityError:
    return IdentityError(f"What this worker keeps of its coordinator is damaged ({path}: {error}); join again.")
