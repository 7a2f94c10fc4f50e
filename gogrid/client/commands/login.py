"""`gogrid login`: pin a coordinator like a worker does, check the key, remember both.

Nothing is saved, and no key is sent, before the coordinator's identity was compared: with `--pin`, or by the person at
the terminal. Changing the identity of a coordinator that is known already always needs that comparison again.
"""

import argparse
import getpass
import hmac
import re
from pathlib import Path
from typing import TYPE_CHECKING

from gogrid.client.client import GoGrid
from gogrid.client.commands.options import command
from gogrid.client.errors import ProfileError, RefusedError
from gogrid.client.profile import Profile, config_path, load_profiles, parse_key, parse_url, profile_name, save_profile
from gogrid.client.shell import Exit, Shell, UsageError
from gogrid.client.trust import CoordinatorIdentity, fetch_identity
from gogrid.identity import told_apart

if TYPE_CHECKING:
    from gogrid.client.shell import Commands

_PIN = re.compile(r"[0-9a-fA-F]{64}")


def add(commands: "Commands") -> None:
    parser = command(commands, "login", "remember a coordinator and your key for it", login)
    parser.add_argument("url", metavar="URL", help="https://HOST:8443")
    parser.add_argument("--pin", type=_pin, metavar="HEX", help="the coordinator's identity, as its admin sees it")
    parser.add_argument(
        "--key", metavar="KEY", help="your API key; - reads it from standard input (asked for otherwise)"
    )


def login(arguments: argparse.Namespace, shell: Shell) -> int:
    url, name = parse_url(arguments.url), profile_name(shell.environment)
    path = config_path(shell.environment, Path.home())
    known = load_profiles(path).get(name)
    if url.startswith("http://"):
        if arguments.pin:
            raise UsageError("--pin needs an https:// address: plain HTTP proves no identity.")
        certificate, identity = None, None
    else:
        identity = fetch_identity(url)
        _compare(identity, arguments.pin, known, url, shell)
        certificate = identity.pem
    profile = Profile(url, _key(arguments.key, shell), certificate)
    with GoGrid(profile) as client:
        count = len(_checked(client))
    save_profile(path, name, profile)
    if shell.json:
        shell.value({"url": url, "profile": name, "pin": identity.pin.hex() if identity else None, "models": count})
    else:
        shell.line(f"Logged in to {url}: {count} {'model' if count == 1 else 'models'}. Try `gogrid models`.")
    return Exit.DONE


def _pin(text: str) -> bytes:
    plain = text.removeprefix("sha256:").replace(":", "")
    if not _PIN.fullmatch(plain):
        raise argparse.ArgumentTypeError("a pin is 64 hexadecimal digits, as `gogrid-coordinator doctor` shows it")
    return bytes.fromhex(plain)


def _compare(identity: CoordinatorIdentity, pin: bytes | None, known: Profile | None, url: str, shell: Shell) -> None:
    """Raises: ProfileError, unless somebody vouches for this identity."""
    if pin is not None:
        if not hmac.compare_digest(pin, identity.pin):
            seen, expected = told_apart(identity.pin, pin)
            raise ProfileError(
                f"{url} is not the coordinator you named: its identity is {seen}, not {expected}. "
                "No key was sent. Check the address and the pin with its admin."
            )
        return
    if known is not None and known.certificate == identity.pem and known.url == url:
        return
    if not shell.asks:
        raise ProfileError(
            f"Nobody is here to compare the identity of {url}: give it with --pin, as its admin's doctor shows it."
        )
    if known is not None and known.url == url:
        shell.note(f"WARNING: the identity of {url} is not the one you logged in to before.")
    shell.note(f"{url} says it is {identity.short} ({identity.words}).")
    shell.stderr.write("Does its admin see the same? [y/N] ")
    shell.stderr.flush()
    if shell.stdin.readline().strip().lower() not in ("y", "yes"):
        raise ProfileError("Not logged in: nothing was sent and nothing was saved.")


def _key(given: str | None, shell: Shell) -> str:
    if given is None and shell.environment.get("GOGRID_API_KEY"):
        given = shell.environment["GOGRID_API_KEY"]
    if given is None:
        if not shell.asks:
            raise ProfileError("No key was given: use --key -, and write the key to standard input.")
        given = _asked_for()
    elif given == "-":
        given = shell.stdin.readline()
    return parse_key(given)


def _asked_for() -> str:
    """What was typed; empty if that was no text, or the end of the input."""
    try:
        return getpass.getpass("API key: ")
    except (UnicodeDecodeError, EOFError):
        return ""


def _checked(client: GoGrid) -> tuple[object, ...]:
    """Whether the key works; a key for jobs only may not list models, which is fine too."""
    try:
        return client.models()
    except RefusedError as error:
        if error.status == 403:
            return ()
        raise
