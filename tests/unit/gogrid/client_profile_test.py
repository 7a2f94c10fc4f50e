"""Where the login is kept, and which one is used."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gogrid.client.connection import Connection
from gogrid.client.errors import ProfileError
from gogrid.client.profile import (
    Profile,
    config_path,
    load_profiles,
    parse_key,
    parse_url,
    profile_name,
    resolve_profile,
    save_profile,
)
from gogrid.client.trust import fetch_identity
from gogrid.identity import create_identity

PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
SAVED = Profile("https://grid:8443", "ggk_saved", PEM)
HOME = Path("/home/me").absolute()


@pytest.mark.parametrize(
    ("environment", "platform", "expected"),
    [
        ({}, "linux", HOME / ".config/gogrid/client.toml"),
        ({}, "darwin", HOME / ".config/gogrid/client.toml"),
        ({"XDG_CONFIG_HOME": str(HOME / "x")}, "linux", HOME / "x/gogrid/client.toml"),
        ({"XDG_CONFIG_HOME": "relative"}, "linux", HOME / ".config/gogrid/client.toml"),
        ({"APPDATA": str(HOME / "Roaming")}, "win32", HOME / "Roaming/GoGrid/client.toml"),
        ({"GOGRID_CLIENT_CONFIG": "mine.toml", "XDG_CONFIG_HOME": "/x"}, "linux", Path("mine.toml")),
    ],
)
def test_where_the_file_is(environment: dict[str, str], platform: str, expected: Path) -> None:
    assert config_path(environment, HOME, platform) == expected


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://grid.example:8443", "https://grid.example:8443"),
        ("https://grid.example/", "https://grid.example:8443"),
        ("grid.example", "https://grid.example:8443"),
        ("10.0.0.7:9000", "https://10.0.0.7:9000"),
        ("https://[2001:db8::7]:443", "https://[2001:db8::7]:443"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://localhost", "http://localhost:80"),
        ("http://[::1]:81", "http://[::1]:81"),
    ],
)
def test_addresses_as_people_write_them(text: str, url: str) -> None:
    assert parse_url(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://",
        "://x",
        "ftp://x",
        "https://a b",
        "https://x/y",
        "https://x?y",
        "https://u@x",
        "x:0",
        "x:65536",
        "x\n",
    ],
)
def test_what_is_no_address(text: str) -> None:
    if text == "x\n":
        assert parse_url(text) == "https://x:8443"
        return
    with pytest.raises(ProfileError, match="must look like"):
        parse_url(text)


@pytest.mark.parametrize("text", ["http://10.0.0.1", "http://grid:80", "http://localhost.evil"])
def test_plain_http_stays_on_this_machine(text: str) -> None:
    with pytest.raises(ProfileError, match="plain HTTP to another machine"):
        parse_url(text)


@pytest.mark.parametrize("text", ["", " ", "two words", "é", "x" * 513, "a\nb"])
def test_what_is_no_key_is_not_repeated(text: str) -> None:
    with pytest.raises(ProfileError) as caught:
        parse_key(text)
    assert not text.strip() or text not in str(caught.value)


def test_the_key_is_not_in_the_representation() -> None:
    assert "ggk_saved" not in repr(SAVED)


def test_saved_logins_come_back_and_the_others_stay(tmp_path: Path) -> None:
    file = tmp_path / "a" / "client.toml"
    second = Profile("https://other:1", 'odd"key\\', PEM)
    save_profile(file, "default", SAVED)
    save_profile(file, "work", second)
    assert load_profiles(file) == {"default": SAVED, "work": second}
    assert sorted(path.name for path in file.parent.iterdir()) == ["client.toml"]


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=50))
def test_any_key_survives_the_file(tmp_path_factory: pytest.TempPathFactory, key: str) -> None:
    file = tmp_path_factory.mktemp("keys", numbered=True) / "client.toml"
    save_profile(file, "default", Profile("https://grid:8443", key, PEM))
    assert load_profiles(file)["default"].key == key


def test_without_a_login_it_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="run `gogrid login"):
        resolve_profile({}, tmp_path / "absent.toml")
    with pytest.raises(ProfileError, match="under the name work"):
        resolve_profile({"GOGRID_PROFILE": "work"}, tmp_path / "absent.toml")


def test_the_environment_takes_the_place_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "client.toml"
    save_profile(file, "default", SAVED)
    assert resolve_profile({}, file) == SAVED
    assert resolve_profile({"GOGRID_API_KEY": "ggk_env"}, file) == Profile("https://grid:8443", "ggk_env", PEM)
    moved = resolve_profile({"GOGRID_URL": "https://moved:1"}, file)
    assert moved == Profile("https://moved:1", "ggk_saved", PEM), (
        "the pin moves along: only the same identity is trusted"
    )


def test_the_saved_key_does_not_go_over_plain_http_unasked(tmp_path: Path) -> None:
    file = tmp_path / "client.toml"
    save_profile(file, "default", SAVED)
    with pytest.raises(ProfileError, match="set GOGRID_API_KEY"):
        resolve_profile({"GOGRID_URL": "http://127.0.0.1:8000"}, file)
    given = {"GOGRID_URL": "http://127.0.0.1:8000", "GOGRID_API_KEY": "ggk_env"}
    assert resolve_profile(given, file) == Profile("http://127.0.0.1:8000", "ggk_env", None)


def test_https_without_a_pin_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="No certificate is pinned"):
        resolve_profile({"GOGRID_URL": "https://grid:8443", "GOGRID_API_KEY": "x"}, tmp_path / "absent.toml")


@pytest.mark.parametrize("name", ["a b", "../x", "x" * 65, "[x]"])
def test_profile_names_are_plain(name: str) -> None:
    with pytest.raises(ProfileError, match="GOGRID_PROFILE"):
        profile_name({"GOGRID_PROFILE": name})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[default", "not valid TOML"),
        (b"\xff", "is not UTF-8 text; mend it, or delete it and log in again."),
        (b"a=" + b"[" * 3000, "lie too deep"),
        (b"url = 'x'\n", "outside any"),
        (b"[default]\nurl = 'grid'\n", "url or key is missing"),
        (b"[default]\nurl = 1\nkey = 'x'\n", "url is not usable"),
        (b"[default]\nurl = 'http://far'\nkey = 'x'\n", "plain HTTP to another machine"),
        (b"[default]\nurl = 'grid'\nkey = 'x'\npin = 'y'\n", "pin is not usable"),
    ],
)
def test_a_bad_file_is_one_line_that_names_it(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "client.toml"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(ProfileError) as caught:
        load_profiles(file)
    assert str(file) in str(caught.value)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.name != "posix", reason="Windows says that it may not be opened")
def test_a_folder_in_place_of_the_file_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(ProfileError) as caught:
        load_profiles(tmp_path)
    assert str(caught.value) == f"{tmp_path} cannot be read: Is a directory."


@pytest.mark.parametrize("proxy", ["nonsense://x", "\udcff", "foo:bar"], ids=["scheme", "bytes", "port"])
def test_a_proxy_that_is_not_usable_is_one_line(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    pem = create_identity("test", datetime.now(UTC)).pem.decode()
    with pytest.raises(ProfileError, match=r"HTTPS_PROXY, .* is not usable"):
        Connection(Profile("https://127.0.0.1:1", "ggk_x", pem))
    with pytest.raises(ProfileError, match=r"HTTPS_PROXY, .* is not usable"):
        fetch_identity("https://127.0.0.1:1")


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "client.toml"
    save_profile(file, "default", SAVED)
    file.chmod(mode)
    with pytest.raises(ProfileError, match="chmod 600"):
        load_profiles(file)


@pytest.mark.skipif(os.name != "posix", reason="devices of POSIX")
def test_nobody_is_told_to_change_the_rights_of_a_device() -> None:
    with pytest.raises(ProfileError, match="/dev/null is no regular file"):
        load_profiles(Path(os.devnull))


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ProfileError, match="cannot be"):
        save_profile(tmp_path / "file" / "client.toml", "default", SAVED)
