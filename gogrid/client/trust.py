"""Which coordinator is meant: its identity certificate, fetched once without trust, compared with what a person knows.

Promises: before the comparison nothing but `GET /identity.pem` is sent, no key and no cookie; afterwards TLS trusts
leaves of exactly that one certificate: no certificate authority and no second certificate in that file can stand in.
"""

import ssl
from dataclasses import dataclass

import httpx
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding

from gogrid.client.errors import AnswerError, ProfileError
from gogrid.client.reach import reachable, usable_proxies
from gogrid.identity import client_context, fingerprint, short_pin, spki_pin

_MOST_BYTES = 64 << 10
_PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class CoordinatorIdentity:
    """A certificate that claims to be the coordinator's, and how people recognise it."""

    pem: str
    pin: bytes
    """SHA-256 of the identity key's SPKI, as in join tokens."""
    words: str
    """Six words, the same ones that the coordinator shows."""

    @property
    def short(self) -> str:
        return short_pin(self.pin)


def fetch_identity(url: str) -> CoordinatorIdentity:
    """Ask `url` who it says it is; nothing is trusted and nothing is given away.

    Raises:
        UnreachableError, AnswerError, ProfileError
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    pem = bytearray()
    with usable_proxies():
        http = httpx.Client(verify=context, timeout=_PATIENCE_S)
    with (
        http,
        reachable(url),
        http.stream("GET", f"{url}/identity.pem") as response,
    ):
        if response.status_code != 200:
            raise AnswerError(f"{url} has no /identity.pem (it answered {response.status_code}): is it a coordinator?")
        for chunk in response.iter_bytes():
            pem += chunk
            if len(pem) > _MOST_BYTES:
                raise AnswerError(f"{url} sent something as its identity that is too long for a certificate.")
    try:
        return identity_of(bytes(pem))
    except ValueError as error:
        raise AnswerError(f"{url} sent something as its identity that is not one certificate.") from error


def identity_of(pem: bytes) -> CoordinatorIdentity:
    """Raises: ValueError, unless this is exactly one certificate, of an Ed25519 key."""
    [certificate] = x509.load_pem_x509_certificates(pem)
    key = certificate.public_key()
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("not an Ed25519 key")
    plain = certificate.public_bytes(Encoding.PEM).decode("ascii")
    return CoordinatorIdentity(plain, spki_pin(certificate), fingerprint(key.public_bytes_raw()))


def pinned_context(pem: str) -> ssl.SSLContext:
    """TLS that trusts this one identity.

    Raises:
        ProfileError: the saved certificate is not exactly one certificate.
    """
    try:
        identity = identity_of(pem.encode())
    except ValueError as error:
        raise ProfileError("The saved certificate is not one certificate: log in again.") from error
    return client_context(identity.pem.encode("ascii"))
