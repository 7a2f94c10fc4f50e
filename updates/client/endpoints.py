"""Where a machine asks: addresses with Tauri's placeholders, and what else lies beside them. Pure."""

from dataclasses import dataclass
from urllib.parse import quote, urlsplit

DEFAULT_PATH = "/updates/{{target}}/{{current_version}}"
"""On a coordinator."""


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


def endpoint(template: str, target: str, version: str) -> Endpoint:
    """Fill in target and version; what stands before `/updates/` is the base, else the host alone."""
    check = template
    for name, value in (("{{target}}", target), ("{{current_version}}", version)):
        check = check.replace(name, quote(value, safe=""))
    head, found, _ = template.partition("/updates/")
    if found and "{{" not in head:
        return Endpoint(check, head)
    parts = urlsplit(template)
    return Endpoint(check, f"{parts.scheme}://{parts.netloc}")
