"""The admin's commands, run as an admin runs them."""

import contextlib
import io
import json
import os
import signal
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import gogrid
from coordinator.cli.main import main
from coordinator.config import DATA_VARIABLE, load_config
from coordinator.state.folder import StateFolder
from gogrid.apikey import parse_api_key
from gogrid.identity import load_identity
from gogrid.jointoken import parse
from tests.fakes.model_folders import chat_folder, gguf


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


class Admin:
    """Runs commands on one state folder: inside this process, which is quick, or as a process of its own."""

    def __init__(self, data: Path) -> None:
        self.data = data

    def __call__(self, *arguments: object) -> Done:
        out, err = io.StringIO(), io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            patch.setenv(DATA_VARIABLE, str(self.data))
            try:
                code = main([str(argument) for argument in arguments])
            except SystemExit as ended:
                code = int(str(ended.code))
        return self._checked(Done(code, out.getvalue(), err.getvalue()))

    def process(self, *arguments: object) -> Done:
        argv = [sys.executable, "-m", "coordinator.cli.main", *map(str, arguments)]
        environment = {**os.environ, DATA_VARIABLE: str(self.data)}
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)
        return self._checked(Done(done.returncode, done.stdout, done.stderr))

    def _checked(self, done: Done) -> Done:
        assert "Traceback" not in done.stderr
        assert done.stderr.count("\n") <= 1
        return done

    def json(self, *arguments: object) -> object:
        done = self(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def admin(tmp_path: Path) -> Admin:
    made = Admin(tmp_path / "state")
    assert made("init", "--name", "lab", "--host", "grid.example.org:9000").returncode == 0
    return made


def test_init_makes_everything_once_and_shows_the_key_once(tmp_path: Path) -> None:
    admin = Admin(tmp_path / "state")
    answer = json.loads(admin.process("init", "--name", "lab", "--host", "grid.example.org:9000", "--json").stdout)
    folder = StateFolder(admin.data)
    assert stat.S_IMODE(admin.data.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.database.stat().st_mode) == 0o600
    assert answer["pin"] == load_identity(folder.identity_key, folder.identity_certificate).pin.hex()
    key = parse_api_key(answer["key"])
    assert key.secret.encode() not in folder.database.read_bytes()
    assert answer["next"] == [
        "gogrid-coordinator serve",
        "gogrid-coordinator model add FOLDER",
        "gogrid-coordinator token create",
        f"gogrid login https://grid.example.org:9000 --pin {answer['pin']}",
    ]
    assert load_config(folder, {}, {}).port == 9000, "what it listens on is not what it says"
    before = folder.identity_key.read_bytes()
    again = admin.process("init")
    assert (again.returncode, folder.identity_key.read_bytes()) == (2, before)
    assert "already holds a coordinator's state" in again.stderr
    assert "already holds a coordinator's state" in admin("init", "--host", "127.0.0.1").stderr


def test_init_leaves_nothing_when_it_fails_and_spares_other_files(tmp_path: Path) -> None:
    admin = Admin(tmp_path / "state")
    assert admin("init", "--host", "a b").returncode == 2
    assert not admin.data.exists()
    admin.data.mkdir()
    (admin.data / "holiday.jpg").write_text("x")
    assert "other files" in admin("init").stderr
    assert [path.name for path in admin.data.iterdir()] == ["holiday.jpg"]


def test_a_token_carries_pin_and_addresses_and_can_be_revoked(admin: Admin) -> None:
    made = admin.json("token", "create", "--uses", "3", "--expires", "7d", "--label", "lab", "--approve")
    assert isinstance(made, dict)
    token = parse(made["token"], 0.0)
    folder = StateFolder(admin.data)
    assert token.pin == load_identity(folder.identity_key, folder.identity_certificate).pin
    assert [str(address) for address in token.addresses] == ["grid.example.org:9000"]
    assert token.needs_approval
    assert token.seed not in folder.database.read_bytes()
    elsewhere = admin.json("token", "create", "--address", "10.0.0.1", "--address", "[::1]:7")
    assert isinstance(elsewhere, dict)
    assert elsewhere["addresses"] == ["10.0.0.1:9000", "[::1]:7"]
    assert admin("token", "revoke", token.token_id).returncode == 0
    listed = admin.json("token", "list")
    assert isinstance(listed, list)
    assert [entry["state"] for entry in listed] == ["revoked", "good"]


def test_keys_are_made_listed_and_revoked_by_name(admin: Admin) -> None:
    made = admin.json("key", "create", "--name", "ann", "--scope", "jobs", "--expires", "30d")
    assert isinstance(made, dict)
    assert parse_api_key(made["key"]).id == made["id"]
    assert made["scopes"] == ["jobs"]
    assert made["key"] not in admin("key", "list").stdout
    assert admin("key", "revoke", "ann").returncode == 0
    listed = admin.json("key", "list")
    assert isinstance(listed, list)
    assert {entry["name"]: entry["state"] for entry in listed} == {"admin": "good", "ann": "revoked"}
    assert admin("key", "revoke", "ann").returncode == 1


def test_models_are_added_listed_and_removed_with_their_files(admin: Admin, tmp_path: Path) -> None:
    (tmp_path / "tiny.gguf").write_bytes(gguf())
    added = admin.json("model", "add", tmp_path / "tiny.gguf")
    assert isinstance(added, dict)
    assert (added["name"], added["kind"], added["context_length"]) == ("tiny", "chat", 512)
    assert admin("model", "add", chat_folder(tmp_path / "smol")).returncode == 0
    assert admin("model", "add", "--engine", "echo", "--name", "echo").returncode == 0
    listed = admin.json("model", "list")
    assert isinstance(listed, list)
    assert [entry["name"] for entry in listed] == ["echo", "smol", "tiny"]
    again = admin("model", "add", tmp_path / "tiny.gguf")
    assert (again.returncode, "tiny was there already" in again.stdout) == (0, True)
    clash = admin("model", "add", tmp_path / "tiny.gguf", "--name", "smol")
    assert (clash.returncode, "belongs to another model" in clash.stderr) == (1, True)
    for name in ("echo", "smol", "tiny"):
        assert admin("model", "remove", name).returncode == 0
    # The blobs of the refused addition are named by nothing; the others are gone.
    assert admin.json("model", "list") == []


def test_an_evil_model_leaves_no_trace(admin: Admin, tmp_path: Path) -> None:
    folder = chat_folder(tmp_path / "evil")
    (folder / "modeling.py").write_text("raise SystemExit")
    done = admin("model", "add", folder)
    assert done.returncode == 1
    assert "modeling.py" in done.stderr
    assert not any(path.is_file() for path in (admin.data / "blobs").rglob("*"))
    assert admin.json("model", "list") == []


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), 2, "COMMAND"),
        (("frob",), 2, "invalid choice"),
        (("wroker", "list"), 2, "did you mean worker?"),
        (("release", "publish", "/does/not/exist"), 2, "/does/not/exist does not exist; name the folder"),
        (("token", "create", "--uses", "0"), 2, "from 1 to 100"),
        (("token", "create", "--uses", "9" * 5000), 2, "--uses"),
        (("token", "create", "--expires", "91d"), 2, "from 1m to 90d"),
        (("token", "create", "--address", "a b"), 2, "a b"),
        (("token", "revoke", "nope"), 1, "nope"),
        (("key", "create", "--name", ""), 2, "--name"),
        (("key", "create", "--name", "x", "--scope", "root"), 2, "inference"),
        (("worker", "approve", "nobody"), 1, "no worker nobody"),
        (("model", "add"), 2, "path"),
        (("model", "add", "/does/not/exist"), 1, "/does/not/exist"),
        (("model", "add", "/", "--name", "a b"), 1, "--name"),
        (("model", "remove", "nope"), 1, "nope"),
        (("serve", "--listen", "8443"), 2, "HOST:PORT"),
        (("serve", "--http-loopback", "70000"), 2, "65535"),
    ],
)
def test_a_wrong_command_is_one_clear_line(
    shared_admin: Admin, arguments: tuple[str, ...], code: int, says: str
) -> None:
    done = shared_admin(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr
    assert len(done.stderr) < 1200


@pytest.fixture(scope="module")
def shared_admin(tmp_path_factory: pytest.TempPathFactory) -> Admin:
    made = Admin(tmp_path_factory.mktemp("shared") / "state")
    assert made("init").returncode == 0
    return made


def test_without_a_coordinator_every_command_says_what_to_run(tmp_path: Path) -> None:
    done = Admin(tmp_path / "nothing").process("worker", "list")
    assert done.returncode == 2
    assert "gogrid-coordinator init" in done.stderr


def test_doctor_is_content_with_a_fresh_coordinator_and_not_with_a_broken_one(admin: Admin) -> None:
    findings = admin.json("doctor")
    assert isinstance(findings, list)
    assert {entry["check"] for entry in findings if entry["ok"]} >= {"state folder", "database", "identity", "disk"}
    StateFolder(admin.data).identity_certificate.write_text("no certificate")
    done = admin("doctor")
    assert done.returncode == 1
    assert "BAD  identity" in done.stdout


def test_doctor_finds_a_model_whose_files_are_gone(admin: Admin) -> None:
    assert admin("model", "add", "--engine", "echo", "--name", "echo").returncode == 0
    assert "ok   models: the files of all 1 are there" in admin("doctor").stdout
    for blob in StateFolder(admin.data).blobs.rglob("*"):
        if blob.is_file():
            blob.unlink()
    done = admin("doctor")
    assert done.returncode == 1
    assert "echo lacks 1" in done.stdout


def test_the_options_of_all_commands_may_stand_before_the_command_too(tmp_path: Path) -> None:
    elsewhere, unused = tmp_path / "elsewhere", Admin(tmp_path / "unused")
    made = unused("--json", "--data", elsewhere, "init", "--host", "127.0.0.1")
    assert json.loads(made.stdout)["key"].startswith("ggk_")
    assert (elsewhere / "identity.pem").exists()
    assert not unused.data.exists()
    assert "admin" in unused("key", "list", "--data", elsewhere).stdout


def test_every_program_says_its_version(tmp_path: Path) -> None:
    assert Admin(tmp_path)("--version").stdout == f"gogrid-coordinator {gogrid.__version__}\n"


def test_an_init_killed_halfway_can_be_run_again(tmp_path: Path) -> None:
    kill = (
        "import os, signal, coordinator.cli.init as init, coordinator.cli.main as main\n"
        "init.save_identity = lambda *a: os.kill(os.getpid(), signal.SIGKILL)\n"
        "main.main(['init'])\n"
    )
    admin = Admin(tmp_path / "state")
    killed = subprocess.run(
        [sys.executable, "-c", kill], env={**os.environ, "GOGRID_COORDINATOR_DATA": str(admin.data)}, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert (admin.data / "coordinator.db").exists()
    assert "gogrid-coordinator init" in admin("key", "list").stderr
    assert admin("init").returncode == 0
    keys = admin.json("key", "list")
    assert isinstance(keys, list)
    assert len(keys) == 1
