"""What we sign, the minisign program believes; what it signs, we believe; each reads the other's keys."""

import shutil
import subprocess
from pathlib import Path

import minisign
import pytest

from updates.errors import TrustError
from updates.trust.signatures import parse_public_key, parse_signature, verify

DATA = b"a file\n" * 1000
PASSPHRASE = "a passphrase of some words"


@pytest.fixture
def program() -> str:
    found = shutil.which("minisign")
    if found is None:
        pytest.skip("needs the program minisign: run packaging/desktop_tests/prepare")
    return found


def run(program: str, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *arguments], input=typed, capture_output=True, text=True, timeout=60, check=False)


def test_the_program_believes_what_we_sign(program: str, tmp_path: Path):
    pair = minisign.KeyPair.generate()
    (tmp_path / "file").write_bytes(DATA)
    signature = bytes(pair.secret_key.sign(DATA, trusted_comment="gogrid1 release")) + b"\n"
    parse_signature(signature)
    (tmp_path / "file.minisig").write_bytes(signature)
    done = run(program, "-V", "-H", "-m", str(tmp_path / "file"), "-P", pair.public_key.to_base64().decode())
    assert done.returncode == 0, done.stderr
    assert "gogrid1 release" in done.stdout
    (tmp_path / "file").write_bytes(DATA + b"x")
    assert run(program, "-V", "-m", str(tmp_path / "file"), "-P", pair.public_key.to_base64().decode()).returncode != 0


def test_we_believe_what_the_program_signs(program: str, tmp_path: Path):
    public, secret, file = tmp_path / "k.pub", tmp_path / "k.sec", tmp_path / "file"
    file.write_bytes(DATA)
    assert run(program, "-G", "-W", "-p", str(public), "-s", str(secret)).returncode == 0
    made = run(program, "-S", "-s", str(secret), "-m", str(file), "-t", "gogrid1 timestamp")
    assert made.returncode == 0, made.stderr
    key = parse_public_key(public.read_text().splitlines()[1])
    signature = parse_signature((tmp_path / "file.minisig").read_bytes())
    assert verify(DATA, signature, {key.id: key}, "timestamp key") == key
    assert signature.trusted_comment == "gogrid1 timestamp"
    assert key.id.lstrip("0") in public.read_text(), "the program drops leading zeros"
    with pytest.raises(TrustError):
        verify(DATA + b"x", signature, {key.id: key}, "timestamp key")


def test_we_refuse_what_the_program_signs_in_the_old_way(program: str, tmp_path: Path):
    public, secret, file = tmp_path / "k.pub", tmp_path / "k.sec", tmp_path / "file"
    file.write_bytes(DATA)
    assert run(program, "-G", "-W", "-p", str(public), "-s", str(secret)).returncode == 0
    assert run(program, "-S", "-l", "-s", str(secret), "-m", str(file), "-t", "x").returncode == 0
    with pytest.raises(TrustError, match="ED"):
        parse_signature((tmp_path / "file.minisig").read_bytes())
