"""A publisher's desk: keys of their own, and release folders that `gogrid-release` made, passphrases and all."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from updates.release_cli.main import main as release
from updates.release_cli.secret_keys import read_public

SECRET = "four words not guessed"


def run(*words: str | Path, secret: bool = True) -> int:
    """`gogrid-release`; returns its exit code."""
    arguments = [str(word) for word in words]
    if not secret:
        return release(arguments)
    reading, writing = os.pipe()
    try:
        os.write(writing, SECRET.encode())
        os.close(writing)
        return release([*arguments, "--passphrase-fd", str(reading)])
    finally:
        os.close(reading)


class Desk:
    """Two root keys, a release key and a timestamp key."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._release_key = "release"
        for role, name in (("root", "root-1"), ("root", "root-2"), ("release", "release"), ("timestamp", "timestamp")):
            self._make_key(role, name)
        self.root_keys = folder / "root-keys.json"
        roots = (folder / "root-1.pub", folder / "root-2.pub")
        assert run("roots", *roots, "--to", self.root_keys, secret=False) == 0
        self._keys = folder / "keys"
        self._name_keys(folder, "release")

    def signed(
        self, name: str, artifact: str, *, seq: int, version: str, words: Sequence[str] = (), key: str = ""
    ) -> Path:
        """A release folder, ready to be published to everybody."""
        folder = self._folder / name
        shutil.copytree(self._keys, folder / "keys")
        asked = ("--seq", str(seq), "--version", version, "--notes", "Better.", "--artifact", artifact, *words)
        signer = self._folder / f"{key or self._release_key}.key"
        assert run("sign", folder, "--key", signer, *asked) == 0, f"{signer.name} may not sign"
        assert run("timestamp", folder, "--key", self._folder / "timestamp.key", "--rollout", "100") == 0
        assert run("verify", folder, "--root-keys", self.root_keys, secret=False) == 0
        return folder

    def rotate(self, name: str) -> None:
        """From now on another key signs releases, and the one before counts no more."""
        old = read_public(self._folder / f"{self._release_key}.pub", "release").id
        self._make_key("release", name)
        self._name_keys(self._folder, name, "--revoke", old)
        self._release_key = name

    def _make_key(self, role: str, name: str) -> None:
        assert run("keygen", role, self._folder / f"{name}.key") == 0

    def _name_keys(self, folder: Path, release_key: str, *words: str) -> None:
        keys = ("--release-key", folder / f"{release_key}.pub", "--timestamp-key", folder / "timestamp.pub")
        before = set(self._keys.glob("keys-*.json"))
        assert run("keys", "make", folder, *keys, *words, secret=False) == 0
        (made,) = set(self._keys.glob("keys-*.json")) - before
        roots = ("--key", folder / "root-1.key", "--key", folder / "root-2.key")
        assert run("keys", "sign", made, *roots) == 0
