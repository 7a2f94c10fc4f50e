"""`gogrid login` against the real app over real TLS: whom it trusts, what it sends to whom, what it keeps."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from gogrid.client.cli import main
from gogrid.client.trust import identity_of
from tests.fakes.backend import INFERENCE_ONLY, JOBS_ONLY, USER
from tests.fakes.https_grid import HttpsGrid, https_grid
from tests.fakes.terminal import Terminal


@pytest.fixture
def grid(tmp_path: Path) -> Iterator[HttpsGrid]:
    with https_grid(tmp_path / "grid") as grid:
        yield grid


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"GOGRID_CLIENT_CONFIG": str(tmp_path / "home" / "client.toml")}


def keys_seen(grid: HttpsGrid) -> set[str]:
    return {authorization for _, _, authorization in grid.seen if authorization}


def log_in(grid: HttpsGrid, environment: dict[str, str], key: str = USER) -> int:
    return main(["login", grid.url, "--pin", grid.identity.pin.hex(), "--key", key], environment)


def test_login_with_the_right_pin_is_remembered_for_its_owner_only(
    grid: HttpsGrid, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert log_in(grid, environment) == 0
    assert f"Logged in to {grid.url}: 3 models." in capsys.readouterr().out
    file = Path(environment["GOGRID_CLIENT_CONFIG"])
    if os.name == "posix":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert main(["models"], environment) == 0
    assert "echo" in capsys.readouterr().out


def test_a_wrong_pin_sends_no_key_and_saves_nothing(
    grid: HttpsGrid, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["login", grid.url, "--pin", "ab" * 32, "--key", USER], environment) == 2
    assert "is not the coordinator you named" in capsys.readouterr().err
    assert [path for _, path, _ in grid.seen] == ["/identity.pem"]
    assert not keys_seen(grid)
    assert not Path(environment["GOGRID_CLIENT_CONFIG"]).exists()


def test_without_a_pin_nobody_at_the_terminal_means_no_login(
    grid: HttpsGrid, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["login", grid.url, "--key", USER], environment) == 2
    assert "--pin" in capsys.readouterr().err
    assert not keys_seen(grid)


def test_a_coordinator_that_serves_anothers_certificate_is_found_out_by_tls(
    tmp_path: Path, grid: HttpsGrid, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with https_grid(tmp_path / "impostor", shown=grid.identity.pem) as impostor:
        assert main(["login", impostor.url, "--pin", grid.identity.pin.hex(), "--key", USER], environment) == 2
        assert "did not prove to be the coordinator" in capsys.readouterr().err
        assert not keys_seen(impostor)


def test_an_impostor_at_the_same_address_gets_not_one_request(
    tmp_path: Path, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with https_grid(tmp_path / "grid") as grid:
        assert log_in(grid, environment) == 0
        port = grid.port
    capsys.readouterr()
    with https_grid(tmp_path / "impostor", port=port) as impostor:
        for command in (["models"], ["chat", "echo", "secret"], ["jobs"], ["workers"]):
            assert main(command, environment) == 2
            message = capsys.readouterr().err
            assert "did not prove to be the coordinator" in message
            assert message.count("\n") == 1
        assert impostor.seen == []


def test_a_refused_key_is_said_and_not_saved(
    grid: HttpsGrid, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert log_in(grid, environment, key="ggk_nonsense") == 1
    assert "unknown, expired or revoked" in capsys.readouterr().err
    assert not Path(environment["GOGRID_CLIENT_CONFIG"]).exists()


@pytest.mark.parametrize("key", [INFERENCE_ONLY, JOBS_ONLY])
def test_keys_of_one_scope_can_log_in(grid: HttpsGrid, environment: dict[str, str], key: str) -> None:
    assert log_in(grid, environment, key) == 0


def test_the_key_can_come_from_standard_input_or_the_environment(
    grid: HttpsGrid, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = tmp_path / "key"
    given.write_text(USER + "\n")
    with given.open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert main(["login", grid.url, "--pin", grid.identity.pin.hex(), "--key", "-"], environment) == 0
    assert main(["login", grid.url, "--pin", grid.identity.pin.hex()], environment | {"GOGRID_API_KEY": USER}) == 0
    assert main(["models"], environment) == 0


def test_one_more_profile_does_not_disturb_the_first(
    tmp_path: Path, grid: HttpsGrid, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with https_grid(tmp_path / "second") as second:
        assert log_in(grid, environment) == 0
        assert log_in(second, environment | {"GOGRID_PROFILE": "work"}) == 0
        before = len(grid.seen)
        assert main(["models"], environment | {"GOGRID_PROFILE": "work"}) == 0
        assert len(grid.seen) == before
        assert main(["models"], environment) == 0
        assert len(grid.seen) == before + 1


def test_a_saved_file_that_others_can_read_is_refused(
    grid: HttpsGrid, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    if os.name != "posix":
        pytest.skip("file modes are POSIX")
    assert log_in(grid, environment) == 0
    file = Path(environment["GOGRID_CLIENT_CONFIG"])
    file.chmod(0o644)
    assert main(["models"], environment) == 2
    assert f"chmod 600 {file}" in capsys.readouterr().err


def test_a_second_certificate_in_the_file_is_not_trusted(
    tmp_path: Path, grid: HttpsGrid, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert log_in(grid, environment) == 0
    with https_grid(tmp_path / "other") as other:
        file = Path(environment["GOGRID_CLIENT_CONFIG"])
        both = other.identity.pem.decode().replace("\n", "\\n")
        text = file.read_text().replace('certificate = "', f'certificate = "{both}').replace(grid.url, other.url)
        file.write_text(text)
        assert main(["models"], environment) == 2
        assert "not one certificate" in capsys.readouterr().err
        assert other.seen == []


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://grid.example:8443", "plain HTTP to another machine"),
        ("https://", "must look like https://grid.example:8443"),
        ("ftp://x", "must look like https://grid.example:8443"),
        ("https://u:p@x/", "must look like https://grid.example:8443"),
        ("https://x/path", "must look like https://grid.example:8443"),
        ("https://x:99999", "must look like https://grid.example:8443"),
        ("https://127.0.0.1:9", "cannot be reached"),
    ],
)
def test_an_address_that_cannot_be_used_is_one_line(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str], address: str, words: str
) -> None:
    assert main(["login", address, "--key", USER, "--pin", "ab" * 32], environment) == 2
    message = capsys.readouterr().err
    assert words in message
    assert message.count("\n") == 1


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 2), ("", 2)])
def test_at_the_terminal_a_person_compares_words_before_any_key_leaves(
    grid: HttpsGrid, environment: dict[str, str], answer: str, code: int
) -> None:
    identity = identity_of(grid.identity.pem)
    with Terminal(["login", grid.url, "--key", USER], environment) as terminal:
        terminal.expect(f"says it is {identity.short} ({identity.words}).")
        terminal.expect("[y/N]")
        assert not keys_seen(grid)
        terminal.type(answer + "\n")
        assert terminal.wait() == code
    assert bool(keys_seen(grid)) == (code == 0)
    assert Path(environment["GOGRID_CLIENT_CONFIG"]).exists() == (code == 0)
