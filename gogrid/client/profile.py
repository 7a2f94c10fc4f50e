"""Where the login is kept: which coordinator, which key, and the one certificate that is trusted for it.

The file is TOML, readable by its owner only (0600; a file that others may read is refused, not repaired in silence),
written to a temporary name and renamed. The environment is given, never read here:

- `GOGRID_CLIENT_CONFIG`: another file; `GOGRID_PROFILE`: another login inside it;
- `GOGRID_URL`, `GOGRID_API_KEY`: take the place of the profile's.

The saved key goes to the pinned coordinator only: with `GOGRID_URL` naming a plain-HTTP address, `GOGRID_API_KEY` must
be given as well. Plain HTTP is for loopback only.
"""

import contextlib
import ipaddress
import json
import os
import re
import stat
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gogrid.addresses import DEFAULT_PORT, parse_address
from gogrid.client.errors import ProfileError
from gogrid.errors import ConfigError

DEFAULT_PROFILE = "default"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_KEY = re.compile(r"[\x21-\x7e]{1,512}")


@dataclass(frozen=True, slots=True)
class Profile:
    """One login, checked."""

    url: str
    """`https://grid.example:8443`, no path, no trailing slash."""
    key: str
    certificate: str | None
    """PEM of the pinned identity; None only for plain HTTP on loopback."""

    def __repr__(self) -> str:
        return f"Profile(url={self.url!r}, key=…)"


def config_path(environment: Mapping[str, str], home: Path, platform: str = sys.platform) -> Path:
    """`GOGRID_CLIENT_CONFIG`, else `gogrid/client.toml` in the user's configuration folder."""
    if given := environment.get("GOGRID_CLIENT_CONFIG"):
        return Path(given)
    if platform == "win32" and (roaming := environment.get("APPDATA")):
        return Path(roaming) / "GoGrid" / "client.toml"
    base = environment.get("XDG_CONFIG_HOME", "")
    # The XDG rules say that a relative value is to be ignored.
    folder = Path(base) if base and Path(base).is_absolute() else home / ".config"
    return folder / "gogrid" / "client.toml"


def profile_name(environment: Mapping[str, str]) -> str:
    """The login to use. Raises: ProfileError, if `GOGRID_PROFILE` is not a name."""
    name = environment.get("GOGRID_PROFILE") or DEFAULT_PROFILE
    if not _NAME.fullmatch(name):
        raise ProfileError(f"GOGRID_PROFILE = {name!r} is not usable: it must be 1 to 64 letters, digits, '_' or '-'.")
    return name


def resolve_profile(environment: Mapping[str, str], path: Path) -> Profile:
    """The login to use now, from the environment and the file.

    Raises:
        ProfileError: nothing usable; says what to run or to set.
    """
    name = profile_name(environment)
    saved = load_profiles(path).get(name)
    given_url, given_key = environment.get("GOGRID_URL"), environment.get("GOGRID_API_KEY")
    if saved is None and given_url is None:
        which = "" if name == DEFAULT_PROFILE else f" under the name {name}"
        raise ProfileError(f"You are not logged in{which} (looked in {path}): run `gogrid login https://HOST:8443`.")
    url = parse_url(given_url) if given_url is not None else saved.url if saved else ""
    key = parse_key(given_key) if given_key else None
    if url.startswith("http://"):
        if key is None and saved is not None and saved.url == url:
            key = saved.key
        if key is None:
            raise ProfileError(f"The saved key is not sent to {url}, which nobody pinned: set GOGRID_API_KEY as well.")
        return Profile(url, key, None)
    if saved is None or saved.certificate is None:
        raise ProfileError(f"No certificate is pinned for {url}: run `gogrid login {url}` once.")
    return Profile(url, key or saved.key, saved.certificate)


def parse_url(text: str) -> str:
    """The coordinator's address in its plain form; `host` and `host:port` mean HTTPS, port 8443 unless given.

    Raises:
        ProfileError: says what is allowed.
    """
    scheme, mark, rest = text.strip().partition("://")
    if not mark:
        scheme, rest = "https", text.strip()
    allowed = f"{text!r} is not a coordinator's address: it must look like https://grid.example:8443."
    if scheme not in ("https", "http") or not rest.isprintable():
        raise ProfileError(allowed)
    try:
        address = parse_address(rest.rstrip("/"), DEFAULT_PORT if scheme == "https" else 80)
    except ConfigError as error:
        raise ProfileError(allowed) from error
    if scheme == "http" and not _is_loopback(address.host):
        raise ProfileError(f"{text} is plain HTTP to another machine, which would show your key to all: use https://.")
    return f"{scheme}://{address}"


def parse_key(text: str) -> str:
    """Raises: ProfileError, if this cannot be an API key; the text is not repeated."""
    key = text.strip()
    if not _KEY.fullmatch(key):
        raise ProfileError("That is not an API key: it must be one word of printable characters, such as ggk_….")
    return key


def load_profiles(path: Path) -> dict[str, Profile]:
    """Every login in the file, none if there is no file.

    Raises:
        ProfileError: the file cannot be read, others may read it, or it is not what `save_profile` writes.
    """
    try:
        with path.open("rb") as file:
            _refuse_readable_by_others(path, os.fstat(file.fileno()))
            tables = tomllib.load(file)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ProfileError(f"{path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise ProfileError(f"{path} is not UTF-8 text; mend it, or delete it and log in again.") from error
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{path} is not valid TOML: {error}; mend it, or delete it and log in again.") from error
    except RecursionError as error:
        raise ProfileError(f"{path} is not usable: its lists or tables lie too deep in one another.") from error
    return {name: _parsed(path, name, table) for name, table in tables.items()}


def _refuse_readable_by_others(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ProfileError(f"{path} is no regular file; name one that `gogrid login` can write.")
    if os.name == "posix" and stat.S_IMODE(status.st_mode) & 0o077:
        raise ProfileError(f"{path} holds your key, but others may read it: run `chmod 600 {path}`.")


def _parsed(path: Path, name: str, table: object) -> Profile:
    where = f"{path}, [{name}]"
    if not isinstance(table, dict):
        raise ProfileError(f"{path}: {name!r} stands outside any [login]; delete the file and log in again.")
    for key, value in table.items():
        if key not in ("url", "key", "certificate") or not isinstance(value, str):
            raise ProfileError(f"{where}: {key} is not usable: a login has url, key and certificate, all text.")
    if "url" not in table or "key" not in table:
        raise ProfileError(f"{where}: url or key is missing: log in again.")
    try:
        return Profile(parse_url(table["url"]), parse_key(table["key"]), table.get("certificate"))
    except ProfileError as error:
        raise ProfileError(f"{where}: {error}") from error


def save_profile(path: Path, name: str, profile: Profile) -> None:
    """Add or replace one login; the others stay.

    Raises:
        ProfileError: the file cannot be written.
    """
    profiles = load_profiles(path) | {name: profile}
    content = "# GoGrid logins, written by `gogrid login`. Holds keys: keep it to yourself.\n"
    content += "".join(_table(name, each) for name, each in sorted(profiles.items()))
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary.unlink(missing_ok=True)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise ProfileError(f"{path} cannot be written: {error.strerror or error}.") from error


def _table(name: str, profile: Profile) -> str:
    entries = {"url": profile.url, "key": profile.key, "certificate": profile.certificate}
    # Without non-ASCII escapes, a JSON string is a TOML basic string.
    lines = [
        f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in entries.items() if value is not None
    ]
    return f"\n[{name}]\n" + "".join(lines)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
