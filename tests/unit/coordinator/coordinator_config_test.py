"""The coordinator's settings and its state folder."""

import os
from pathlib import Path

import msgspec
import pytest

from coordinator.config import LISTEN, PUBLIC, load_config, state_folder
from coordinator.errors import StateError
from coordinator.own_addresses import elsewhere, reachable_addresses, token_addresses
from coordinator.state.folder import Serving, StateFolder, default_root
from gogrid.addresses import Address
from gogrid.errors import ConfigError


def test_flag_over_environment_over_file_over_default(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    environment: dict[str, str] = {}
    assert load_config(folder, {}, environment).port == 8443
    folder.config_file.write_text('[coordinator]\nlisten = "0.0.0.0:1001"\npublic = ["grid.example.org"]\n')
    config = load_config(folder, {}, environment)
    assert (config.port, config.public) == (1001, (Address("grid.example.org", 0),))
    environment["GOGRID_COORDINATOR_LISTEN"] = "[::1]:1002"
    assert (load_config(folder, {}, environment).host, load_config(folder, {}, environment).port) == ("::1", 1002)
    assert load_config(folder, {LISTEN.key: "127.0.0.1:0"}, environment).port == 0


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('[coordinator]\nlisten = "8443"', "coordinator.listen"),
        ("[coordinator]\nlisten = 8443", "HOST:PORT"),
        ('[coordinator]\nlisten = "0.0.0.0:99999"', "HOST:PORT"),
        ('[coordinator]\npublic = ["a", "b", "c", "d"]', "at most 3"),
        ('[coordinator]\npublic = ["a b"]', "coordinator.public"),
        ("[limits]\nqueue_length = 0", "from 1 to"),
        ('[workers]\nlease = "soon"', "duration"),
        ("[workers]\nping = true", "duration"),
        ('[workers]\nheartbeat = "20s"', "do not fit"),
        ("[coordinator]\nlitsen = 1", "did you mean coordinator.listen"),
        ('[coordinator]\nlog_level = "loud"', "debug, info"),
        ("[coordinator", "not valid TOML"),
    ],
)
def test_a_bad_setting_is_one_clear_line(tmp_path: Path, text: str, names: str) -> None:
    folder = StateFolder(tmp_path)
    folder.config_file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(folder, {}, {})
    assert names in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_state_folder_is_the_flags_then_the_variables_then_the_platforms(tmp_path: Path) -> None:
    environment = {"GOGRID_COORDINATOR_DATA": "/b", "XDG_DATA_HOME": "/x"}
    assert state_folder("/a", environment, tmp_path, "linux", False).root == Path("/a")
    assert state_folder(None, environment, tmp_path, "linux", False).root == Path("/b")
    assert default_root({"XDG_DATA_HOME": "/x"}, tmp_path, "linux", False) == Path("/x/gogrid-coordinator")
    assert default_root({}, tmp_path, "linux", False) == tmp_path / ".local/share/gogrid-coordinator"
    assert default_root({}, tmp_path, "linux", True) == Path("/var/lib/gogrid-coordinator")


def test_a_second_coordinator_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    first = folder.lock()
    with pytest.raises(StateError, match="Another coordinator serves"):
        folder.lock()
    first.release()
    folder.lock().release()


def test_serve_json_of_a_dead_coordinator_is_not_believed(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    folder.serve_file.write_text('{"pid": 1, "host": "127.0.0.1", "port": 7, "http_loopback": null}')
    assert folder.read_serving() is None
    lock = folder.lock()
    serving = folder.read_serving()
    assert serving is not None
    assert serving.port == 7
    lock.release()


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX")
def test_a_folder_or_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "state")
    folder.begin()
    folder.identity_key.touch(mode=0o600)
    folder.database.touch()
    folder.finish()
    folder.require()
    folder.identity_key.chmod(0o644)
    with pytest.raises(StateError, match="chmod 600"):
        folder.require()
    folder.identity_key.chmod(0o600)
    folder.root.chmod(0o750)
    with pytest.raises(StateError, match="chmod 700"):
        folder.require()


def test_an_interrupted_init_is_cleared_and_a_coordinator_never_is(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "state")
    folder.begin()
    folder.identity_key.touch(mode=0o600)
    folder.database.touch()
    assert not folder.initialised
    folder.begin()
    assert not folder.identity_key.exists()
    folder.identity_key.touch(mode=0o600)
    folder.database.write_text("precious")
    folder.finish()
    with pytest.raises(StateError, match="already holds a coordinator's state"):
        folder.begin()
    assert folder.database.read_text() == "precious"


def test_tokens_name_what_is_public_or_bound(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    bound = load_config(folder, {LISTEN.key: "127.0.0.1:0"}, {})
    assert reachable_addresses(bound, 4711) == (Address("127.0.0.1", 4711),)
    other = reachable_addresses(load_config(folder, {}, {}), 4711, "127.0.0.1")
    assert other == (Address("127.0.0.1", 4711),), "what `serve --listen` said counts"
    anywhere = reachable_addresses(load_config(folder, {}, {}))
    assert 1 <= len(anywhere) <= 3
    assert all(address.port == 8443 for address in anywhere)


def test_tokens_name_what_the_coordinator_that_runs_was_told(tmp_path: Path) -> None:
    """`serve --public` is in no file: only `serve.json` tells it to `token create`."""
    folder = StateFolder(tmp_path)
    folder.config_file.write_text('[coordinator]\npublic = ["from.file:1"]\n')
    lock = folder.lock()
    flagged = load_config(folder, {PUBLIC.key: ["flag.example", "[2001:db8::7]:9"]}, {})
    serving = Serving(1, "0.0.0.0", 4711, None, flagged.public if flagged.public_given else ())
    folder.serve_file.write_bytes(msgspec.json.encode(serving))
    running, own = folder.read_serving(), load_config(folder, {}, {})
    assert token_addresses(own, running) == (Address("flag.example", 4711), Address("2001:db8::7", 9))
    mine = load_config(folder, {}, {PUBLIC.env: "mine.example"})
    assert mine.public_given
    assert token_addresses(mine, running) == (Address("mine.example", 4711),), "this command's own word goes first"
    lock.release()
    assert token_addresses(own, folder.read_serving()) == (Address("from.file", 1),)


def test_what_the_file_says_is_read_anew_for_each_token(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    folder.config_file.write_text('[coordinator]\npublic = ["before:1"]\n')
    started = load_config(folder, {}, {})
    assert not started.public_given
    folder.config_file.write_text('[coordinator]\npublic = ["after:1"]\n')
    serving = Serving(1, "127.0.0.1", 4711, None)
    assert token_addresses(load_config(folder, {}, {}), serving) == (Address("after", 1),)


def test_a_public_name_without_a_port_means_the_one_that_is_listened_on(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    folder.config_file.write_text('[coordinator]\npublic = ["127.0.0.1", "grid.example.org:443"]\n')
    config = load_config(folder, {}, {})
    assert [str(address) for address in reachable_addresses(config)] == ["127.0.0.1:8443", "grid.example.org:443"]
    named = reachable_addresses(config, 18443)
    assert [str(address) for address in named] == ["127.0.0.1:18443", "grid.example.org:443"]
    assert elsewhere(named[:1], 18443) == ""
    assert elsewhere(named, 18443).startswith(
        "grid.example.org:443 leads here only if something forwards it to port 18443"
    )
