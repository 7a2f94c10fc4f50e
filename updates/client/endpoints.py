"""Where a machine asks: addresses with Tauri's placeholders, and what else lies beside them. Pure.

Promises: every address is https to a named host, or http to this very machine; refuses user info, and whatever two
programs could read as two different hosts.
"""

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, urlsplit

from updates.client.errors import EndpointError

DEFAULT_PATH = "/updates/{{target}}/{{current_version}}"
"""On a coordinator."""
ALLOWED = "a list of https:// addresses (http:// for 127.0.0.1, [::1] and localhost only)"
_HERE = ("127.0.0.1", "::1", "localhost")
_PLAIN = re.compile(r"[!-+\x2d-~]{1,2048}")
"""A comma stands between two of them."""
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?)(:[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One place that offers updates."""

    check: str
    base: str
    """Where `/updates/keys/EPOCH` and `/files/…` are found."""
    line: str = ""
    """What names another line than the app's: `app=gogrid-engine`."""

    def keys(self, epoch: int) -> str:
        return f"{self.base}/updates/keys/{epoch}{'?' if self.line else ''}{self.line}"

    def file(self, path: str) -> str:
        """Args: `path` as a release says it: `/files/SHA256/NAME`."""
        return f"{self.base}{path}"


def check_address(address: str) -> SplitResult:
    """The parts of an address that may be asked for updates. Raises `EndpointError`."""
    try:
        parts = urlsplit(address)
        right = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _HERE)
        right = right and parts.port != 0  # one that is too large is found out here
    except ValueError:
        right = False
    if not right or not _PLAIN.fullmatch(address) or not _AUTHORITY.fullmatch(parts.netloc):
        raise EndpointError(f"{address[:200]!r} cannot be asked for updates: updates.endpoints is {ALLOWED}.")
    return parts


def endpoint(template: str, target: str, version: str) -> Endpoint:
    """Fill in target and version; what stands before `/updates/` is the base, else the host alone.

    Raises `EndpointError`: nobody may be asked there.
    """
    parts = check_address(template)
    check = template
    for name, value in (("{{target}}", target), ("{{current_version}}", version)):
        check = check.replace(name, quote(value, safe=""))
    head, found, _ = template.partition("/updates/")
    if found and "{{" not in head:
        return Endpoint(check, head)
    return Endpoint(check, f"{parts.scheme}://{parts.netloc}")
