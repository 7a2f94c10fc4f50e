"""What a worker signs to prove its key, and how the coordinator checks it.

The transcript names the coordinator's pinned key, this very TLS session, both nonces, who the worker is and what is
spoken. So a signature is worth nothing on another connection, to another coordinator, or for another purpose. Every
part has a fixed length or carries its own.
"""

from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gogrid.errors import ProtocolError
from gogrid.ids import WorkerId
from gogrid.protocol import ALPN
from gogrid.protocol.messages import Auth, Challenge, Join

NONCE_SIZE = 32
KEY_SIZE = 32
BINDING_LABEL = b"gogrid bind v1"
"""What both ends derive their TLS session's secret with."""
_NOBODY = bytes(Ed25519PrivateKey.from_private_bytes(bytes(range(32))).public_key().public_bytes_raw())
"""Checked against where there is no key, so that an unknown name takes as long as a wrong signature."""


@dataclass(frozen=True, slots=True)
class Binding:
    """What one connection is, as both ends know it."""

    pin: bytes
    """SHA-256 of the coordinator's identity key."""
    session: bytes
    """Secret of this TLS session, derived with `BINDING_LABEL`."""


def sign_auth(
    key: Ed25519PrivateKey, worker_id: WorkerId, binding: Binding, challenge: Challenge, session_nonce: bytes
) -> Auth:
    """The worker's answer to `challenge`."""
    transcript = _auth_transcript(binding, challenge, session_nonce, worker_id)
    return Auth(worker_id=worker_id, session_nonce=session_nonce, signature=key.sign(transcript))


def auth_is_valid(auth: Auth, public_key: bytes | None, binding: Binding, challenge: Challenge) -> bool:
    """Whether the holder of `public_key` answered this challenge on this connection; None is never valid.

    Raises:
        ProtocolError: the nonce has not the length of a nonce.
    """
    _check_nonce(auth.session_nonce)
    transcript = _auth_transcript(binding, challenge, auth.session_nonce, auth.worker_id)
    return _verify(public_key, auth.signature, transcript)


def sign_join(
    token_id: str,
    token_key: Ed25519PrivateKey,
    worker_key: Ed25519PrivateKey,
    hostname: str,
    binding: Binding,
    challenge: Challenge,
    session_nonce: bytes,
) -> Join:
    """The request to redeem a token for this new worker key."""
    public = worker_key.public_key().public_bytes_raw()
    transcript = _join_transcript(binding, challenge, session_nonce, token_id, public, hostname)
    return Join(
        token_id=token_id,
        worker_key=public,
        session_nonce=session_nonce,
        hostname=hostname,
        token_signature=token_key.sign(b"token" + transcript),
        worker_signature=worker_key.sign(b"worker" + transcript),
    )


def join_is_valid(join: Join, token_public_key: bytes | None, binding: Binding, challenge: Challenge) -> bool:
    """Whether the sender holds both the token and the new worker key; a token of None is never valid.

    Raises:
        ProtocolError: nonce or key have not their lengths.
    """
    _check_nonce(join.session_nonce)
    if len(join.worker_key) != KEY_SIZE:
        raise ProtocolError(f"A worker key has {KEY_SIZE} bytes, not {len(join.worker_key)}.")
    transcript = _join_transcript(binding, challenge, join.session_nonce, join.token_id, join.worker_key, join.hostname)
    token_signed = _verify(token_public_key, join.token_signature, b"token" + transcript)
    worker_signed = _verify(join.worker_key, join.worker_signature, b"worker" + transcript)
    return token_signed and worker_signed


def _auth_transcript(binding: Binding, challenge: Challenge, session_nonce: bytes, worker_id: WorkerId) -> bytes:
    return _transcript(b"gogrid-auth-v1\0", binding, challenge, session_nonce, worker_id.encode())


def _join_transcript(
    binding: Binding, challenge: Challenge, session_nonce: bytes, token_id: str, worker_key: bytes, hostname: str
) -> bytes:
    return _transcript(
        b"gogrid-join-v1\0", binding, challenge, session_nonce, token_id.encode(), worker_key, hostname.encode()
    )


def _transcript(purpose: bytes, binding: Binding, challenge: Challenge, session_nonce: bytes, *who: bytes) -> bytes:
    parts = (
        binding.pin,
        binding.session,
        challenge.server_nonce,
        session_nonce,
        *who,
        challenge.proto.to_bytes(4, "big"),
        ALPN.encode(),
    )
    return purpose + b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _check_nonce(nonce: bytes) -> None:
    if len(nonce) != NONCE_SIZE:
        raise ProtocolError(f"A nonce has {NONCE_SIZE} bytes, not {len(nonce)}.")


def _verify(public_key: bytes | None, signature: bytes, transcript: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key or _NOBODY).verify(signature, transcript)
    except (InvalidSignature, ValueError):
        return False
    return public_key is not None
