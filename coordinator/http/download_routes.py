"""`/downloads`, also found at `/`: where people get the installer for their machine. No key, no script, all its own.

The installer for the system that the browser names comes first. Every file is shown with its size, its SHA-256, its
signature and one line that compares it.
"""

import asyncio
import re
from collections.abc import Iterable
from html import escape

from litestar.types import Receive, Scope, Send

from coordinator.http.asgi import LeanRoute, header, http_scope, send_body, send_reply, send_start
from coordinator.http.services import Services
from coordinator.http.update_routes import address_of
from coordinator.http.visitors import Visitors
from coordinator.releases.offers import Installers
from gogrid.sizes import format_size
from updates.trust.documents import Installer

_HTML = (b"content-type", b"text/html; charset=utf-8")
_CSS = (b"content-type", b"text/css; charset=utf-8")
_FRESH = (b"cache-control", b"no-cache")
_SYSTEMS = {"linux": "Linux", "darwin": "macOS", "windows": "Windows"}
_BASES = {"linux": "glibc", "darwin": "macOS", "windows": "Windows"}
"""What `os_min` counts."""
_MACHINES = {"x86_64": "Intel or AMD, 64 bit", "aarch64": "ARM, 64 bit"}
_STYLE = """
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c2430; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
article { border: 1px solid #cfd6e0; border-radius: .5rem; padding: .5rem 1rem; margin: 1rem 0; }
article.yours { border: 2px solid #1f7a3d; }
code, pre { font-size: .85rem; overflow-wrap: anywhere; white-space: pre-wrap; }
dt { color: #5a6472; } dd { margin: 0 0 .4rem 0; }
@media (prefers-color-scheme: dark) { body { background: #14181f; color: #e3e8ef; } a { color: #8ab4ff; } }
""".strip()


def download_routes(services: Services, visitors: Visitors) -> list[LeanRoute]:
    async def page(scope: Scope, receive: Receive, send: Send) -> None:
        http = http_scope(scope, "GET", "HEAD")
        visitors.admit(address_of(http), asyncio.get_running_loop().time())
        downloads = services.releases.downloads()
        system = system_of(header(http["headers"], b"user-agent") or "")
        body = render(services.name, downloads.sections if downloads else (), system).encode()
        if http["method"] == "HEAD":
            await send_start(send, 200, (_HTML, _FRESH, (b"content-length", b"%d" % len(body))))
            await send_body(send, b"", more=False)
        else:
            await send_reply(send, 200, body, (_HTML, _FRESH))

    async def style(scope: Scope, receive: Receive, send: Send) -> None:
        http_scope(scope, "GET")
        await send_reply(send, 200, _STYLE.encode(), (_CSS, _FRESH))

    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        http_scope(scope, "GET", "HEAD")
        await send_reply(send, 302, b"", ((b"location", b"/downloads"),))

    return [
        LeanRoute(re.compile("/"), front),
        LeanRoute(re.compile("/downloads"), page),
        LeanRoute(re.compile(r"/downloads/style\.css"), style),
    ]


def system_of(user_agent: str) -> str:
    """`linux`, `darwin`, `windows`, or empty: none that there are installers for."""
    if "Windows" in user_agent:
        return "windows"
    if "Macintosh" in user_agent:
        return "darwin"
    return "linux" if "Linux" in user_agent and "Android" not in user_agent else ""


def render(name: str, sections: Iterable[Installers], system: str) -> str:
    """The page, the visitor's system first."""
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
        f'<title>Downloads · {escape(name)}</title><link rel="stylesheet" href="/downloads/style.css"></head><body>',
        f"<h1>Let this machine join {escape(name)}</h1>",
        "<ol><li>Download and open the installer.</li><li>Ask the admin for a join token and paste it.</li></ol>",
    ]
    sections = tuple(sections)
    for section in sections:
        parts += _section(section, system)
    if not sections:
        parts.append("<p>There is no installer here yet. The admin publishes one with "
                     "<code>gogrid-coordinator release publish</code>.</p>")  # fmt: skip
    parts.append(
        "<p>This coordinator cannot sign what it offers. Whoever published it did, and installed machines check that "
        "signature by themselves before every update.</p></body></html>"
    )
    return "\n".join(parts)


def _section(section: Installers, system: str) -> list[str]:
    parts = [f"<h2>{escape(section.app)} {escape(section.version)} ({escape(section.channel)})</h2>"]
    if section.notes:
        parts.append(f"<p>{escape(section.notes)}</p>")
    for file in sorted(section.files, key=lambda each: (not _is_for(each, system), each.target, each.name)):
        parts += _file(file, _is_for(file, system))
    return parts


def _is_for(file: Installer, system: str) -> bool:
    return bool(system) and file.target.startswith(f"{system}-")


def _file(file: Installer, yours: bool) -> list[str]:
    url = escape(file.url)
    system, _, machine = file.target.partition("-")
    what = f"{_SYSTEMS.get(system, system)}, {_MACHINES.get(machine, machine)}"
    needs = f" · needs {_BASES.get(system, '')} {escape(file.os_min)} or later" if file.os_min else ""
    mark = " — for the system of this browser" if yours else ""
    return [
        f"<article{' class=yours' if yours else ''}><h3>{escape(what)}{mark}</h3>",
        f'<p><a href="{url}" download>{escape(file.name)}</a> · {escape(format_size(file.size))} · '
        f"{escape(file.format)}{needs}</p>",
        f"<dl><dt>SHA-256</dt><dd><code>{escape(file.sha256)}</code></dd>",
        f'<dt>Signature</dt><dd><a href="{url}.minisig" download>{escape(file.name)}.minisig</a></dd>',
        f"<dt>Compare</dt><dd><code>{escape(check_line(file))}</code></dd></dl></article>",
    ]


def check_line(file: Installer) -> str:
    """One command that says whether a downloaded file has the hash, for the file's own system."""
    if file.target.startswith("windows-"):
        return f"(Get-FileHash {file.name}).Hash -eq '{file.sha256.upper()}'"
    program = "shasum -a 256" if file.target.startswith("darwin-") else "sha256sum"
    return f"echo '{file.sha256}  {file.name}' | {program} --check"
