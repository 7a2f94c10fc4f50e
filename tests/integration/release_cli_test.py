"""The publisher's program from keys to a release that the admin's program takes and a running coordinator offers."""

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import minisign
import pytest

from coordinator.cli.main import main as coordinator
from updates.release_cli.main import main as release
from updates.release_cli.sign import _put_in_place
from updates.release_folder import ReleaseFolder

SECRET = "four words not guessed"
APP = b"an app, packed" * 1000


def run(*arguments: str | Path, passphrases: Sequence[str] = ()) -> int:
    """In this process, with passphrases by a file descriptor if there are any."""
    words = [str(argument) for argument in arguments]
    if not passphrases:
        return release(words)
    reading, writing = os.pipe()
    try:
        os.write(writing, "\n".join(passphrases).encode())
        os.close(writing)
        return release([*words, "--passphrase-fd", str(reading)])
    finally:
        os.close(reading)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A publisher's folder: four keys, root-keys.json, a release folder with signed keys, and an app."""
    folder = tmp_path_factory.mktemp("desk")
    for role, name in (("root", "root-1"), ("root", "root-2"), ("release", "release"), ("timestamp", "timestamp")):
        assert run("keygen", role, folder / f"{name}.key", passphrases=[SECRET]) == 0
    publics = [folder / "root-1.pub", folder / "root-2.pub"]
    assert run("roots", *publics, "--to", folder / "root-keys.json") == 0
    made = ["--release-key", folder / "release.pub", "--timestamp-key", folder / "timestamp.pub"]
    assert run("keys", "make", folder / "r1", *made) == 0
    roots = ["--key", folder / "root-1.key", "--key", folder / "root-2.key"]
    assert run("keys", "sign", folder / "r1" / "keys" / "keys-1.json", *roots, passphrases=[SECRET]) == 0
    (folder / "gogrid.zip").write_bytes(APP)
    (folder / "GoGrid.AppImage").write_bytes(b"an installer")
    return folder


def sign(desk: Path, folder: Path, *more: str | Path, version: str = "1.0.0", secret: str = SECRET) -> int:
    files = [
        "--artifact",
        f"linux-x86_64={desk / 'gogrid.zip'}",
        "--installer",
        f"linux-x86_64={desk / 'GoGrid.AppImage'}",
    ]
    words = ["sign", folder, "--key", desk / "release.key", "--version", version, *files, *more]
    return run(*words, passphrases=[secret])


@pytest.fixture(scope="module")
def signed(desk: Path) -> Path:
    """A release that is complete."""
    folder = desk / "r1"
    assert sign(desk, folder, "--seq", "1", "--notes", "First.", "--rollout", "10") == 0
    assert run("timestamp", folder, "--key", desk / "timestamp.key", "--rollout", "10,100", passphrases=[SECRET]) == 0
    return folder


@pytest.fixture
def copy(signed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(signed, tmp_path / "copy"))


def verify(desk: Path, folder: Path) -> int:
    return run("verify", folder, "--root-keys", desk / "root-keys.json")


def test_what_is_signed_verifies(desk: Path, signed: Path, capsys: pytest.CaptureFixture[str]):
    assert run("verify", signed, "--root-keys", desk / "root-keys.json", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["good"] is True
    assert (told["release_seq"], told["version"], told["key_epoch"], told["files"]) == (1, "1.0.0", 1, 2)
    assert told["rollout"] == [10, 100]


def test_secret_keys_are_encrypted_and_private(desk: Path):
    for name in ("root-1", "release", "timestamp"):
        path = desk / f"{name}.key"
        assert path.stat().st_mode & 0o777 == 0o600
        with pytest.raises(minisign.Error, match="encrypted"):
            minisign.SecretKey.from_file(path).sign(b"x")


def test_the_minisign_program_opens_our_secret_keys_and_believes_our_documents(desk: Path, signed: Path):
    program = shutil.which("minisign")
    if program is None:
        pytest.skip("needs the program minisign: run packaging/desktop_tests/prepare")
    made = subprocess.run(
        [program, "-S", "-s", desk / "release.key", "-m", desk / "gogrid.zip", "-x", desk / "opened", "-t", "x"],
        input=SECRET + "\n", capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    for name in ("release.json", "files/gogrid.zip"):
        done = subprocess.run(
            [program, "-V", "-m", signed / name, "-p", desk / "release.pub"], check=False, capture_output=True
        )
        assert done.returncode == 0, name


@pytest.mark.parametrize(
    ("name", "change", "code"),
    [
        ("release.json", lambda data: data.replace(b'"1.0.0"', b'"9.9.9"'), 1),
        ("files/gogrid.zip", lambda data: data[:-1] + b"x", 1),
        ("keys/keys-1.json", lambda data: data.replace(b'"key_epoch": 1', b'"key_epoch": 2'), 1),
        ("release.json.minisig", lambda data: b"", 1),
        ("release.json", None, 2),
        ("files/gogrid.zip", None, 2),
    ],
)
def test_verify_refuses_a_folder_that_was_changed(desk: Path, copy: Path, name: str, change, code: int, capsys):
    path = copy / name
    if change is None:
        path.unlink()
    else:
        path.write_bytes(change(path.read_bytes()))
    assert verify(desk, copy) == code
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("gogrid-release: ")


def test_nothing_is_written_over(desk: Path, signed: Path, capsys):
    before = (desk / "release.key").read_bytes()
    assert run("keygen", "release", desk / "release.key", passphrases=[SECRET]) == 2
    assert (desk / "release.key").read_bytes() == before
    assert sign(desk, signed, "--seq", "2") == 2
    assert run("roots", desk / "root-1.pub", desk / "root-2.pub", "--to", desk / "root-keys.json") == 2
    assert capsys.readouterr().err.count("exists already") == 3


def test_no_secret_key_is_made_without_its_public_half(tmp_path: Path, capsys):
    (tmp_path / "zz.pub").write_text("somebody else's")
    assert run("keygen", "root", tmp_path / "zz.key", passphrases=[SECRET]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["zz.pub"]
    assert "zz.pub exists already" in capsys.readouterr().err


def test_the_wrong_passphrase_opens_nothing(desk: Path, tmp_path: Path, capsys):
    shutil.copytree(desk / "r1" / "keys", tmp_path / "r" / "keys")
    assert sign(desk, tmp_path / "r", "--seq", "5", secret="guessed") == 1
    assert "wrong password" in capsys.readouterr().err
    assert not (tmp_path / "r" / "release.json").exists()
    assert not (tmp_path / "r" / "files").exists()


def test_a_key_without_a_passphrase_is_not_made(tmp_path: Path, capsys):
    assert run("keygen", "release", tmp_path / "k.key", passphrases=[""]) == 1
    assert "never kept without one" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_without_terminal_or_descriptor_no_passphrase_is_asked(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "updates.release_cli.main", "keygen", "release", tmp_path / "k.key"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert "--passphrase-fd" in done.stderr


def test_a_secret_key_that_others_may_read_is_not_used(desk: Path, tmp_path: Path, signed: Path, capsys):
    key = tmp_path / "timestamp.key"
    shutil.copy(desk / "timestamp.key", key)
    key.chmod(0o644)
    assert run("timestamp", signed, "--key", key, passphrases=[SECRET]) == 1
    assert f"chmod 600 {key}" in capsys.readouterr().err


def test_a_key_of_another_role_signs_nothing(desk: Path, signed: Path, capsys):
    assert run("timestamp", signed, "--key", desk / "release.key", passphrases=[SECRET]) == 1
    assert "no timestamp key" in capsys.readouterr().err


def test_release_numbers_only_rise_and_what_was_revoked_stays_so(desk: Path, signed: Path, tmp_path: Path, capsys):
    second, third = tmp_path / "r2", tmp_path / "r3"
    for folder in (second, third):
        shutil.copytree(signed / "keys", folder / "keys")
    before = ["--previous", signed]
    assert sign(desk, second, version="1.1.0") == 1
    assert sign(desk, second, *before, "--seq", "1", version="1.1.0") == 1
    assert "never reused" in capsys.readouterr().err
    assert sign(desk, second, *before, "--revoke", "1", "--security-floor", "2", version="1.1.0") == 0
    assert sign(desk, third, "--previous", second, "--security-floor", "1", version="1.2.0") == 1
    assert sign(desk, third, "--previous", second, version="1.2.0") == 0
    document = json.loads((third / "release.json").read_bytes())
    assert (document["release_seq"], document["revoked"], document["security_floor"]) == (3, [1], 2)


def test_too_few_root_keys_are_counted_in_words(desk: Path, capsys):
    assert run("roots", desk / "root-1.pub", "--to", desk / "few.json") == 1
    assert "2 root keys must sign, but only 1 is named" in capsys.readouterr().err
    assert not (desk / "few.json").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["--artifact", "linux-x86_64"],
        ["--artifact", "linux-x86_64=missing.zip"],
        ["--artifact", "Linux=gogrid.zip"],
        ["--rollout", "101"],
        ["--expires", "1w"],
        ["--seq", "0"],
        ["--version", "v 1"],
        [],
    ],
)
def test_wrong_words_are_answered_in_one_line(desk: Path, tmp_path: Path, words: list[str], capsys):
    shutil.copytree(desk / "r1" / "keys", tmp_path / "r" / "keys")
    try:
        code = sign(desk, tmp_path / "r", *words) if words else run("sign", tmp_path / "r")
    except SystemExit as exit_:
        code = int(str(exit_.code))
    said = capsys.readouterr().err
    assert code in (1, 2)
    assert said.count("\n") == 1
    assert said.startswith("gogrid-release")


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["--version", "v1.1.0"], id="version"),
        pytest.param(["--app", "Worker"], id="app"),
        pytest.param(["--revoke", "5"], id="revokes-itself"),
        pytest.param(["--security-floor", "6"], id="above-itself"),
        pytest.param(["--artifact", "darwin-aarch64=other.zip,os=new"], id="system"),
        pytest.param(["--notes", "x" * 16385], id="notes"),
    ],
)
def test_a_refused_sign_leaves_nothing_and_the_corrected_command_goes_on(
    desk: Path, tmp_path: Path, words: list[str], capsys
):
    folder = tmp_path / "q"
    shutil.copytree(desk / "r1" / "keys", folder / "keys")
    before = everything(folder)
    (tmp_path / "other.zip").write_bytes(b"another")
    words = [word.replace("other.zip", str(tmp_path / "other.zip")) for word in words]
    try:
        code = sign(desk, folder, "--seq", "5", *words)
    except SystemExit as exit_:
        code = int(str(exit_.code))
    assert code in (1, 2)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "regex" not in said
    assert "Expected" not in said
    assert everything(folder) == before
    if words[0] == "--version":
        assert "is not a version" in said
        assert sign(desk, folder, "--seq", "5", version="1.1.0") == 0
        assert everything(folder) == sorted(
            [*before, "files", "release.json", "release.json.minisig"]
            + [f"files/{name}{end}" for name in ("gogrid.zip", "GoGrid.AppImage") for end in ("", ".minisig")]
        )


def test_a_folder_that_is_not_there_is_not_made_for_a_key(desk: Path, tmp_path: Path, capsys):
    nowhere = tmp_path / "nowhere"
    assert run("keygen", "root", nowhere / "deep" / "e.key") == 2
    assert run("roots", desk / "root-1.pub", desk / "root-2.pub", "--to", nowhere / "root-keys.json") == 2
    said = capsys.readouterr().err.splitlines()
    assert [f"There is no folder {place}; make it first" in line for place, line in
            zip((nowhere / "deep", nowhere), said, strict=True)] == [True, True]  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_a_key_made_for_another_role_is_not_listed(desk: Path, tmp_path: Path, capsys):
    to = tmp_path / "root-keys.json"
    assert run("roots", desk / "root-1.pub", desk / "release.pub", "--to", to) == 1
    assert f"{desk / 'release.pub'} was made as a release key, not as a root key" in capsys.readouterr().err
    assert run("roots", desk / "root-1.pub", desk / "root-2.key", "--to", to) == 1
    assert f"{desk / 'root-2.key'} is no minisign public key" in capsys.readouterr().err
    swapped = ["--release-key", desk / "timestamp.pub", "--timestamp-key", desk / "release.pub"]
    assert run("keys", "make", tmp_path / "r", *swapped) == 1
    assert "was made as a timestamp key, not as a release key" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_put_in_place_whole_is_taken_back(tmp_path: Path):
    staged, folder = ReleaseFolder(tmp_path / "staged"), ReleaseFolder(tmp_path / "r")
    staged.files.mkdir(parents=True)
    folder.root.mkdir()
    (staged.files / "gogrid.zip").write_bytes(APP)
    (staged.root / "release.json.minisig").write_bytes(b"")
    with pytest.raises(FileNotFoundError):
        _put_in_place(staged, folder)
    assert everything(folder.root) == []


def test_a_revoked_keys_id_is_asked_for_in_words(desk: Path, tmp_path: Path, capsys):
    with pytest.raises(SystemExit):
        run("keys", "make", tmp_path / "r", "--release-key", desk / "release.pub",
            "--timestamp-key", desk / "timestamp.pub", "--revoke", "xyz")  # fmt: skip
    assert "16 hexadecimal digits" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_a_running_coordinator_offers_what_is_published_within_a_second(
    desk: Path, signed: Path, tmp_path: Path, capsys
):
    data = tmp_path / "state"
    where = ["--data", str(data)]
    assert coordinator(["init", *where, "--root-keys", str(desk / "root-keys.json")]) == 0
    port = _free_port()
    serving = ["serve", *where, "--listen", "127.0.0.1:0", "--http-loopback", str(port)]
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "coordinator.cli.main", *serving], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None
    try:
        assert select.select([process.stdout], [], [], 30)[0], "the coordinator did not become ready"
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            check = "/updates/linux-x86_64/0.9.0"
            assert http.get(check).status_code == 204
            assert coordinator(["release", "publish", str(signed), *where]) == 0
            assert _soon(lambda: http.get(check).status_code == 200)
            offer = http.get(check).json()
            assert http.get(offer["platforms"]["linux-x86_64"]["url"]).content == APP
            assert "GoGrid.AppImage" in http.get("/downloads").text
            assert coordinator(["release", "rollout", "100", *where]) == 0
            assert coordinator(["release", "rollout", "10", *where]) == 1
            assert coordinator(["release", "revoke", "1", *where]) == 0
            assert _soon(lambda: http.get(check).status_code == 204)
            capsys.readouterr()
            assert coordinator(["release", "list", *where, "--json"]) == 0
            assert json.loads(capsys.readouterr().out)[0]["releases"][0]["withdrawn"] is True
    finally:
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        process.stdout.close()
        assert process.wait(20) == 0


def test_a_backup_has_the_root_keys_and_releases_are_published_again(desk: Path, signed: Path, tmp_path: Path, capsys):
    old, new = ["--data", str(tmp_path / "old")], ["--data", str(tmp_path / "new")]
    assert coordinator(["init", *old, "--root-keys", str(desk / "root-keys.json")]) == 0
    assert coordinator(["release", "publish", str(signed), *old]) == 0
    assert coordinator(["backup", "--to", str(tmp_path / "backup.tar"), *old]) == 0
    assert coordinator(["restore", str(tmp_path / "backup.tar"), *new]) == 0
    assert coordinator(["release", "publish", str(signed), *new]) == 0
    assert "offered to 10 %" in capsys.readouterr().out


def _soon(happened) -> bool:
    deadline = time.monotonic() + 5
    while not happened():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
