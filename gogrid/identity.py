"""Who a coordinator and a worker are: keys, certificates, pins, and the TLS contexts that follow from them.

The coordinator's identity is one Ed25519 key with a self-signed certificate; it signs short-lived leaves for TLS, so a
leaf may change at any time and the pin, SHA-256 of the identity key's SPKI, never does. Private keys are written 0600
and refused when others could read them. Nothing here trusts a certificate authority.
"""

import ssl
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gogrid.errors import IdentityError
from gogrid.files import write_whole
from gogrid.pinwords import pin_words

IDENTITY_DAYS = 3650
LEAF_DAYS = 60
LEAF_DAYS_MAX = 90
_RENEW_DAYS = 30
_BACKDATED = timedelta(days=1)
"""Leaves start yesterday: the clocks of idle machines are not exact."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A coordinator's long-lived key and the certificate that carries it."""

    key: Ed25519PrivateKey
    certificate: x509.Certificate

    @property
    def pin(self) -> bytes:
        return spki_pin(self.certificate)

    @property
    def pem(self) -> bytes:
        """The certificate, which is public."""
        return self.certificate.public_bytes(Encoding.PEM)


@dataclass(frozen=True, slots=True)
class Leaf:
    """What a TLS server presents: a short-lived key and certificate, followed by the identity that signed it."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    identity: x509.Certificate

    @property
    def chain(self) -> tuple[x509.Certificate, x509.Certificate]:
        return self.certificate, self.identity

    def needs_renewal(self, now: datetime) -> bool:
        return now >= self.certificate.not_valid_after_utc - timedelta(days=_RENEW_DAYS)


# --- making -----------------------------------------------------------------------------------------------------------


def create_identity(name: str, now: datetime) -> Identity:
    """A new identity, valid for ten years from `now` (with time zone)."""
    key = Ed25519PrivateKey.generate()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64] or "GoGrid coordinator")])
    public = key.public_key()
    certificate = (
        _builder(subject, subject, public, now - _BACKDATED, now + timedelta(days=IDENTITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .sign(key, None)
    )
    return Identity(key, certificate)


def issue_leaf(identity: Identity, names: Sequence[str], now: datetime, days: int = LEAF_DAYS) -> Leaf:
    """A leaf for these host names and IP addresses.

    Raises:
        IdentityError: more than 90 days were asked for.
    """
    if not 0 < days <= LEAF_DAYS_MAX - _BACKDATED.days:
        raise IdentityError(f"A TLS certificate lasts 1 to {LEAF_DAYS_MAX - _BACKDATED.days} days, not {days}.")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "GoGrid coordinator")])
    ends = min(now + timedelta(days=days), identity.certificate.not_valid_after_utc)
    certificate = (
        _builder(subject, identity.certificate.subject, key.public_key(), now - _BACKDATED, ends)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names or ["gogrid"]]), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(identity.key.public_key()), False)
        .sign(identity.key, None)
    )
    return Leaf(key, certificate, identity.certificate)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: Ed25519PublicKey | ec.EllipticCurvePublicKey,
    starts: datetime,
    ends: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(starts)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


# --- checking ---------------------------------------------------------------------------------------------------------


def spki_pin(certificate: x509.Certificate) -> bytes:
    """SHA-256 of the certificate's SubjectPublicKeyInfo, 32 bytes."""
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return sha256(spki).digest()


def check_chain(chain: Sequence[x509.Certificate], pin: bytes, now: datetime) -> None:
    """Accept exactly a leaf signed by the pinned identity, both in their time.

    The caller must know by other means (TLS) that the peer holds the leaf's key.

    Raises:
        IdentityError: anything else.
    """
    if not chain or spki_pin(chain[-1]) != pin:
        seen, expected = told_apart(spki_pin(chain[-1]), pin) if chain else ("none", short_pin(pin))
        raise IdentityError(
            f"The coordinator's identity is {seen}, not the expected {expected}: nothing was sent to it. "
            "Either this is another machine, or its identity was replaced; then join again with a new token."
        )
    if len(chain) != 2:
        raise IdentityError(f"The coordinator presented {len(chain)} certificates; exactly two are expected.")
    leaf, identity = chain
    try:
        leaf.verify_directly_issued_by(identity)
    except (ValueError, TypeError, InvalidSignature):
        raise IdentityError("The coordinator's TLS certificate is not signed by its identity.") from None
    if leaf.not_valid_after_utc - leaf.not_valid_before_utc > timedelta(days=LEAF_DAYS_MAX):
        raise IdentityError(f"The coordinator's TLS certificate lasts longer than {LEAF_DAYS_MAX} days.")
    for certificate, what in ((leaf, "TLS certificate"), (identity, "identity")):
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            span = f"{certificate.not_valid_before_utc:%Y-%m-%d} to {certificate.not_valid_after_utc:%Y-%m-%d}"
            raise IdentityError(
                f"The coordinator's {what} is valid from {span}, but this machine's clock says {now:%Y-%m-%d}: set it."
            )


def server_context(chain_path: Path, key_path: Path) -> ssl.SSLContext:
    """TLS 1.3 for the coordinator's HTTPS, from the files that `save_leaf` (or the admin) wrote.

    Raises:
        IdentityError: the files are missing or do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_cert_chain(chain_path, key_path)
    except (OSError, ssl.SSLError) as error:
        raise IdentityError(f"The TLS certificate {chain_path} with key {key_path} cannot be used: {error}.") from None
    return context


def client_context(identity_pem: bytes) -> ssl.SSLContext:
    """TLS 1.3 that trusts leaves of exactly this identity, under any host name.

    Raises:
        IdentityError: it is no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    try:
        context.load_verify_locations(cadata=identity_pem.decode("ascii"))
    except (ssl.SSLError, UnicodeDecodeError, ValueError):
        raise IdentityError("The coordinator's saved identity is not a certificate; join or log in again.") from None
    return context


# --- keeping ----------------------------------------------------------------------------------------------------------


def save_identity(identity: Identity, key_path: Path, certificate_path: Path) -> None:
    """Write a new identity; never over an old one.

    Raises:
        FileExistsError: there is one already.
    """
    write_whole(key_path, _private_pem(identity.key), private=True, replace=False)
    write_whole(certificate_path, identity.pem, private=False, replace=False)


def load_identity(key_path: Path, certificate_path: Path) -> Identity:
    """Raises `IdentityError`."""
    key = _load_key(key_path)
    try:
        certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
    except (OSError, ValueError) as error:
        raise IdentityError(f"The identity certificate {certificate_path} cannot be read: {error}.") from None
    if certificate.public_key() != key.public_key():
        raise IdentityError(
            f"{certificate_path} does not belong to the key in {key_path}; restore both from one backup."
        )
    return Identity(key, certificate)


def save_leaf(leaf: Leaf, chain_path: Path, key_path: Path) -> None:
    """Write what `server_context` reads, over any older leaf."""
    write_whole(key_path, _private_pem(leaf.key), private=True, replace=True)
    chain = b"".join(certificate.public_bytes(Encoding.PEM) for certificate in leaf.chain)
    write_whole(chain_path, chain, private=False, replace=True)


def create_worker_key() -> Ed25519PrivateKey:
    """A worker's own key, made on the worker and never leaving it."""
    return Ed25519PrivateKey.generate()


def save_worker_key(key: Ed25519PrivateKey, path: Path) -> None:
    """Write the key, 0600, in place of any older one."""
    write_whole(path, _private_pem(key), private=True, replace=True)


def load_worker_key(path: Path) -> Ed25519PrivateKey:
    """Raises `IdentityError`."""
    return _load_key(path)


def _private_pem(key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _load_key(path: Path) -> Ed25519PrivateKey:
    try:
        _refuse_open(path)
        key = load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise IdentityError(f"The private key {path} cannot be read: {error}.") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise IdentityError(f"{path} holds no Ed25519 private key.")
    return key


def _refuse_open(path: Path) -> None:
    if sys.platform == "win32":
        from gogrid.windows.private_file import others

        if found := others(path):
            raise IdentityError(
                f"Others ({', '.join(sorted(found))}) can read the private key {path};"
                f' run: icacls "{path}" /inheritance:r /grant:r "%USERNAME%":F'
            )
    elif path.stat().st_mode & 0o077:
        raise IdentityError(f"Others can read the private key {path}; run: chmod 600 {path}")


# --- for people -------------------------------------------------------------------------------------------------------


def short_pin(pin: bytes) -> str:
    """First eight hexadecimal digits of a pin."""
    return pin[:4].hex()


def told_apart(one: bytes, other: bytes) -> tuple[str, str]:
    """Two different pins for people: short, but whole if they begin alike."""
    return (one.hex(), other.hex()) if short_pin(one) == short_pin(other) else (short_pin(one), short_pin(other))


def fingerprint(public_key: bytes) -> str:
    """The pin of a raw Ed25519 key (32 bytes) in six words; of a coordinator's, the words its join tokens give, too."""
    spki = Ed25519PublicKey.from_public_bytes(public_key).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return pin_words(sha256(spki).digest())
