"""`join`: redeem a token, and keep what the worker needs from then on.

Promises: the settings have been read before (a file that cannot be mended stops a join before its token is used); the
new key is on disk before it is sent, so that a join whose answer was lost can be repeated; an earlier membership is
replaced only after success.
"""

import socket
import time
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from gogrid.addresses import Address
from gogrid.errors import ConfigError, IdentityError
from gogrid.identity import create_worker_key, load_worker_key, save_worker_key, short_pin
from gogrid.jointoken import parse
from gogrid.places import WorkerPlaces
from runner.config import worker_name
from runner.control import RunnerLock
from runner.errors import TokenRefusedError
from runner.link.coordinator_link import join
from runner.link.membership import Membership, load_membership, save_membership
from runner.settings_file import write_settings


class JoinResult(msgspec.Struct, frozen=True):
    coordinator: str
    pin: str
    """First eight hexadecimal digits."""
    address: str
    worker_id: str
    worker: str
    pending: bool
    config: str


async def join_with(text: str, name: str | None, places: WorkerPlaces) -> JoinResult:
    """Join the coordinator that made the token.

    Args:
        text: the token as pasted.
        name: what the coordinator should call this worker; None: the host name.

    Raises:
        GoGridError: the token or name is no good, the coordinator cannot be reached or refuses, or a worker runs here.
    """
    if name is not None:
        _check_name(name)
    token = parse(text, time.time())
    with RunnerLock(places.lock):
        pending_key = places.state / f"joining-{token.token_id}.key"
        key = _key(pending_key)
        try:
            joined = await join(token, key, name or socket.gethostname())
        except TokenRefusedError as error:
            pending_key.unlink()
            raise _refused(error, places.state, token.pin) from error
        coordinator = _common_name(joined.identity_pem)
        others = tuple(address for address in token.addresses if address != joined.address)
        save_membership(
            places.state,
            Membership(
                worker_id=joined.worker_id,
                worker_name=joined.worker_name,
                key=key,
                pin=token.pin,
                identity_pem=joined.identity_pem,
                coordinator_name=coordinator,
                addresses=(joined.address, *others),
                https_port=joined.https_port,
            ),
        )
        pending_key.unlink()
        set_coordinator(places.config, joined.address)
    return JoinResult(
        coordinator=coordinator,
        pin=short_pin(token.pin),
        address=str(joined.address),
        worker_id=joined.worker_id,
        worker=joined.worker_name,
        pending=joined.pending,
        config=str(places.config),
    )


def set_coordinator(path: Path, address: Address) -> None:
    """Write the coordinator into `config.toml`; comments and all else stay as they are.

    Raises:
        ConfigError: the file cannot be read or written.
    """
    write_settings(path, {"coordinator.host": address.host, "coordinator.port": address.port})


def _check_name(name: str) -> None:
    try:
        worker_name(name)
    except ValueError as allowed:
        raise ConfigError(f"A worker's name is {allowed}, not {name[:80]!r}.") from None


def _refused(error: TokenRefusedError, folder: Path, pin: bytes) -> TokenRefusedError:
    """Somebody who pastes a token twice has joined already."""
    try:
        membership = load_membership(folder)
    except IdentityError:
        return error
    if membership is None:
        return error
    where = f"This machine has joined {membership.coordinator_name} already (as {membership.worker_name})"
    if membership.pin == pin:
        return TokenRefusedError(f"{where}, and needs no token any more. This one is refused: {error}")
    return TokenRefusedError(f"{where}, another coordinator than this token's. This one is refused: {error}")


def _key(path: Path) -> Ed25519PrivateKey:
    """The key of a join that was cut short, or a new one."""
    if path.exists():
        return load_worker_key(path)
    key = create_worker_key()
    save_worker_key(key, path)
    return key


def _common_name(identity_pem: bytes) -> str:
    names = x509.load_pem_x509_certificate(identity_pem).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else "coordinator"
