"""Secret keys: encrypted minisign files (mode 0600), and the passphrases that open them.

A passphrase comes from the terminal or from a file descriptor (`--passphrase-fd N`, one line for each key, the last
line for all that are left), never from the command line or the environment, where other programs see it.
"""

import argparse
import getpass
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import minisign

from updates.errors import FolderError, TrustError, UpdateError
from updates.release_folder import require_folder, write_new
from updates.trust.signatures import PublicKey, parse_public_key

_LARGEST_KEY_FILE = 8 << 10
_OPERATIONS, _MEMORY = 1 << 22, 1 << 27
"""Work and bytes that scrypt takes for one try of a passphrase: about half a second, 128 MB."""
_PASSPHRASE_BYTES = 4096
_MADE_FOR = re.compile(r"GoGrid (root|release|timestamp) public key")


class SecretKeyError(UpdateError):
    """A secret key cannot be read or opened."""


class Passphrases:
    """Where passphrases come from."""

    def __init__(self, descriptor: int | None) -> None:
        self._lines: list[str] | None = None
        if descriptor is not None:
            try:
                with os.fdopen(descriptor, "rb", closefd=False) as file:
                    text = file.read(_PASSPHRASE_BYTES).decode()
            except (OSError, UnicodeDecodeError) as error:
                raise SecretKeyError(f"No passphrase can be read from file descriptor {descriptor}: {error}.") from None
            self._lines = text.splitlines()

    def of(self, what: str, *, twice: bool = False) -> str:
        """The passphrase of a key. Raises `SecretKeyError`: there is none, it is empty, or the two differ."""
        if self._lines is not None:
            passphrase = (self._lines.pop(0) if len(self._lines) > 1 else self._lines[0]) if self._lines else ""
        elif not sys.stdin.isatty():
            raise SecretKeyError(f"The passphrase of {what} is asked on a terminal, or read with --passphrase-fd.")
        else:
            passphrase = getpass.getpass(f"Passphrase of {what}: ")
            if twice and passphrase != getpass.getpass("The same again: "):
                raise SecretKeyError("The two passphrases differ; nothing was made.")
        if not passphrase:
            raise SecretKeyError(f"The passphrase of {what} is empty; a secret key is never kept without one.")
        return passphrase


def passphrase_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--passphrase-fd",
        type=int,
        metavar="N",
        help="read passphrases from this file descriptor, one line for each key",
    )


def make_key(path: Path, role: str, passphrases: Passphrases) -> PublicKey:
    """Make a secret key in `path` and its public half beside it (`.pub`); neither may exist.

    Raises:
        UpdateError: one does, their folder is not there, or there is no passphrase.
    """
    beside = public_path(path)
    require_folder(path)
    for there in (path, beside):
        if os.path.lexists(there):
            raise FolderError(f"{there} exists already; nothing was made.")
    pair = minisign.KeyPair.generate()
    public = parse_public_key(pair.public_key.to_base64().decode())
    passphrase = passphrases.of(str(path), twice=True)
    pair.secret_key.untrusted_comment = f"GoGrid {role} secret key {public.id}"
    pair.secret_key.encrypt(passphrase, opslimit=_OPERATIONS, memlimit=_MEMORY)
    write_new(path, bytes(pair.secret_key) + b"\n", private=True)
    text = f"untrusted comment: GoGrid {role} public key {public.id}\n{public.text}\n"
    write_new(beside, text.encode())
    pair.secret_key.wipe()
    return public


@contextmanager
def opened(path: Path, passphrases: Passphrases) -> Iterator["Signer"]:
    """A secret key for as long as it is needed. Raises `SecretKeyError`."""
    try:
        with path.open("rb") as file:
            if os.name == "posix" and os.fstat(file.fileno()).st_mode & 0o077:
                raise SecretKeyError(f"Other users may read {path}; run: chmod 600 {path}")
            secret = minisign.SecretKey.from_bytes(file.read(_LARGEST_KEY_FILE))
    except FileNotFoundError:
        raise SecretKeyError(f"There is no secret key {path}.") from None
    except minisign.Error as error:
        raise SecretKeyError(f"{path} is no minisign secret key: {error}.") from None
    try:
        if secret.is_encrypted():
            secret.decrypt(passphrases.of(str(path)))
        yield Signer(secret)
    except minisign.Error as error:
        raise SecretKeyError(f"{path} cannot be used: {error}.") from None
    finally:
        secret.wipe()


class Signer:
    """An open secret key."""

    def __init__(self, secret: minisign.SecretKey) -> None:
        self._secret = secret
        self.public = parse_public_key(secret.get_public_key().to_base64().decode())

    def sign(self, data: object, comment: str) -> bytes:
        """A `.minisig` file over bytes or an open file."""
        untrusted = f"signature by GoGrid key {self.public.id}"
        signature = self._secret.sign(data, trusted_comment=comment, untrusted_comment=untrusted)
        return bytes(signature) + b"\n"


def public_path(path: Path) -> Path:
    return path.with_suffix(".pub")


def read_public(path: Path, role: str) -> PublicKey:
    """A minisign public key file. Raises `UpdateError`: it is none, or `make_key` made it for another role."""
    try:
        with path.open("rb") as file:
            lines = file.read(_LARGEST_KEY_FILE).decode("ascii", "replace").splitlines()
    except FileNotFoundError:
        raise SecretKeyError(f"There is no public key {path}.") from None
    if len(lines) != 2:
        raise SecretKeyError(f"{path} is no minisign public key: it has {len(lines)} lines, not two.")
    made = _MADE_FOR.search(lines[0])
    if made is not None and made[1] != role:
        raise SecretKeyError(f"{path} was made as a {made[1]} key, not as a {role} key; name the right file.")
    try:
        return parse_public_key(lines[1])
    except TrustError as error:
        raise SecretKeyError(f"{path} is no minisign public key: {error}") from None
