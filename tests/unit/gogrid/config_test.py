"""Where a setting's value comes from, and what is said about a bad one."""

from pathlib import Path

import pytest

from gogrid.config import Setting, boolean, integer, port, resolve, text
from gogrid.errors import ConfigError

HOST = Setting("coordinator.host", text, "localhost", "GOGRID_COORDINATOR_HOST", "Where the coordinator is.")
PORT = Setting("coordinator.port", port, 8443, "GOGRID_COORDINATOR_PORT", "Its port.")
PAUSE = Setting("worker.pause_on_activity", boolean, True, "GOGRID_PAUSE_ON_ACTIVITY", "Stop while in use.")
SETTINGS = (HOST, PORT, PAUSE)


def written(folder: Path, content: str) -> Path:
    path = folder / "config.toml"
    path.write_text(content, encoding="utf-8")
    return path


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    file = written(tmp_path, '[coordinator]\nhost = "from-file"\nport = 1\n[worker]\npause_on_activity = false\n')
    environment = {"GOGRID_COORDINATOR_HOST": "from-environment", "GOGRID_COORDINATOR_PORT": "2"}
    resolved = resolve(SETTINGS, flags={"coordinator.host": "from-flag"}, environment=environment, file=file)
    assert resolved.value(HOST) == "from-flag"
    assert resolved.value(PORT) == 2
    assert resolved.value(PAUSE) is False
    assert resolved.origins == {
        "coordinator.host": "--host",
        "coordinator.port": "GOGRID_COORDINATOR_PORT",
        "worker.pause_on_activity": str(file),
    }


def test_defaults_need_nothing(tmp_path: Path) -> None:
    resolved = resolve(SETTINGS, flags={"coordinator.host": None}, environment={}, file=tmp_path / "absent.toml")
    assert resolved.values == {
        "coordinator.host": "localhost",
        "coordinator.port": 8443,
        "worker.pause_on_activity": True,
    }
    assert set(resolved.origins.values()) == {"default"}


def test_an_empty_variable_is_not_given() -> None:
    resolved = resolve(SETTINGS, flags={}, environment={"GOGRID_COORDINATOR_PORT": ""}, file=None)
    assert resolved.value(PORT) == 8443


@pytest.mark.parametrize(
    ("flags", "environment", "words"),
    [
        ({"coordinator.port": "0"}, {}, ["coordinator.port", "'0'", "--port", "1 to 65535"]),
        (
            {},
            {"GOGRID_COORDINATOR_PORT": "many"},
            ["coordinator.port", "'many'", "GOGRID_COORDINATOR_PORT", "1 to 65535"],
        ),
        ({}, {"GOGRID_PAUSE_ON_ACTIVITY": "maybe"}, ["worker.pause_on_activity", "'maybe'", "true or false"]),
        ({"coordinator.host": "  "}, {}, ["coordinator.host", "text that is not empty"]),
    ],
)
def test_a_bad_value_names_key_value_origin_and_what_is_allowed(
    flags: dict[str, object], environment: dict[str, str], words: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(SETTINGS, flags=flags, environment=environment, file=None)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[coordinator\n", ["not valid TOML", "line 1"]),
        ("host = 'x'\n", ["'host'", "outside any [section]"]),
        ("[coordinator]\nhots = 'x'\n", ["coordinator.hots", "did you mean coordinator.host?"]),
        ("[zebra]\nqqq = 1\n", ["zebra.qqq", "known keys: coordinator.host"]),
        ("[coordinator]\nport = true\n", ["coordinator.port", "True", "1 to 65535"]),
        ("[coordinator]\nport = 8443.5\n", ["coordinator.port", "8443.5", "1 to 65535"]),
        ("[coordinator]\nhost = 7\n", ["coordinator.host", "7", "text that is not empty"]),
        ("[worker]\npause_on_activity = 1\n", ["worker.pause_on_activity", "true or false"]),
    ],
)
def test_a_bad_file_is_one_line_that_names_it(tmp_path: Path, content: str, words: list[str]) -> None:
    file = written(tmp_path, content)
    with pytest.raises(ConfigError) as caught:
        resolve(SETTINGS, flags={}, environment={}, file=file)
    message = str(caught.value)
    assert "\n" not in message
    assert str(file) in message
    assert all(word in message for word in words), message


def test_a_file_that_is_not_text_or_not_a_file_is_refused(tmp_path: Path) -> None:
    binary = tmp_path / "config.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    for path in (binary, tmp_path):
        with pytest.raises(ConfigError, match="cannot be read"):
            resolve(SETTINGS, flags={}, environment={}, file=path)


def test_an_unhashable_value_in_a_file_is_one_line_too(tmp_path: Path) -> None:
    file = written(tmp_path, "[coordinator]\nport = [1, 2]\n")
    with pytest.raises(ConfigError, match="1 to 65535"):
        resolve(SETTINGS, flags={}, environment={}, file=file)


@pytest.mark.parametrize("word", ["true", "YES", "on", "1", True])
def test_words_for_true(word: object) -> None:
    assert boolean(word) is True


@pytest.mark.parametrize("word", ["False", "no", "OFF", "0", False])
def test_words_for_false(word: object) -> None:
    assert boolean(word) is False


def test_whole_numbers_keep_their_bounds() -> None:
    parse = integer(-1, 3)
    assert [parse(-1), parse("3")] == [-1, 3]
    for bad in (4, -2, "4", "1.0", "", None, 1.0, True, "٣", "1_0", "9" * 5000):
        with pytest.raises(ValueError, match="a whole number from -1 to 3"):
            parse(bad)
