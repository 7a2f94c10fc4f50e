"""The licences of everything in the frozen app, as one text.

Of Python packages from their own metadata, of the system's libraries from what Debian keeps in
`/usr/share/doc/PACKAGE/copyright`, with the common licences that those files only point to. What has no such file is
named with what is known of it, so that nothing is silently left out.
"""

import json
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from importlib.metadata import Distribution, distributions
from pathlib import Path

_NAMES = ("LICENSE", "LICENCE", "COPYING", "NOTICE", "AUTHORS")
_RULE = "=" * 100
_COMMON = Path("/usr/share/common-licenses")
_POINTER = re.compile(r"/usr/share/common-licenses/([A-Za-z0-9.+-]*[A-Za-z0-9+])")
Part = tuple[str, str]
"""What it is, and under which words."""


def licences_text(modules: Iterable[str], libraries: Iterable[Path] = (), *, python_license: Path | None = None) -> str:
    """Of Python itself, of every installed distribution that brings one of these top-level modules, of these files.

    Args:
        libraries: of the system, as they lie on this machine.
    """
    wanted = set(modules)
    parts = [("Python " + sys.version.split()[0], _python(python_license))]
    for each in sorted(distributions(), key=lambda each: each.metadata["Name"].lower()):
        if _tops(each) & wanted and each.metadata["Name"].lower() != "gogrid":
            parts.append((f"{each.metadata['Name']} {each.version}", _texts(each)))
    parts += library_parts(libraries)
    parts += _pointed_to(parts)
    listed = "\n".join(f"  {name}" for name, _ in parts)
    head = f"This program contains the following works of others, under the licences that follow.\n\n{listed}\n"
    return head + "".join(f"\n{_RULE}\n{name}\n{_RULE}\n\n{text}\n" for name, text in parts)


def library_parts(libraries: Iterable[Path]) -> list[Part]:
    """One for each of the system's packages that these files come from."""
    owners: dict[str, list[str]] = {}
    for library in sorted(libraries):
        owners.setdefault(_package(library) or str(library), []).append(library.name)
    return [(f"{owner} ({', '.join(names)})", _copyright(owner)) for owner, names in sorted(owners.items())]


def _package(library: Path) -> str:
    """The package of this system that brought a file, with its version; empty: none, or this is no Debian."""
    if shutil.which("dpkg-query") is None:
        return ""
    real = library.resolve()
    for path in dict.fromkeys((library, real, Path("/usr", *library.parts[1:]), Path("/", *real.parts[2:]))):
        done = _ask("--search", str(path))
        if done:
            package = done.split(":")[0]
            return f"{package} {_ask('--showformat', '${Version}', '--show', package)}".strip()
    return ""


def _ask(*words: str) -> str:
    done = subprocess.run(["dpkg-query", *words], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def _copyright(owner: str) -> str:
    path = Path("/usr/share/doc", owner.split()[0].lstrip("/"), "copyright")
    if path.is_file():
        return path.read_text(encoding="utf-8", errors="replace").strip()
    return "No copyright file of it was found on the machine where this program was built."


def _pointed_to(parts: Iterable[Part]) -> list[Part]:
    """Licences that are named by where Debian keeps them."""
    names = sorted({name for _, text in parts for name in _POINTER.findall(text)})
    found = ((name, _COMMON / name) for name in names)
    return [
        (f"The text of {name}", path.read_text(encoding="utf-8", errors="replace").strip())
        for name, path in found
        if path.is_file()
    ]


def _tops(each: Distribution) -> set[str]:
    tops = (each.read_text("top_level.txt") or "").split()
    tops += [path.parts[0].split(".")[0] for path in each.files or () if path.suffix in (".py", ".so", ".pyd")]
    return set(tops)


def _texts(each: Distribution) -> str:
    found = []
    for path in sorted(each.files or ()):
        inside = any(part.endswith(".dist-info") for part in path.parts)
        if inside and any(path.name.upper().startswith(name) for name in _NAMES):
            found.append(Path(str(each.locate_file(path))).read_text(encoding="utf-8", errors="replace").strip())
    said = each.metadata.get("License-Expression") or each.metadata.get("License") or "no licence named"
    found = found or [f"No licence file; its metadata says: {said}"]
    if inside := _carried(each):
        found.append(f"Its bill of materials says that it carries {', '.join(inside)}.")
    return "\n\n".join(found)


def _carried(each: Distribution) -> list[str]:
    """Libraries that a wheel's builder put into it."""
    bills = [path for path in each.files or () if path.parent.name == "sboms" and path.suffix == ".json"]
    values = [json.loads(Path(str(each.locate_file(path))).read_bytes()) for path in sorted(bills)]
    named = [
        part for value in values for part in value.get("components", ()) if part.get("purl", "").startswith("pkg:")
    ]
    return sorted({f"{part['name']} {part['version']}" for part in named if not part["purl"].startswith("pkg:pypi")})


def _python(given: Path | None) -> str:
    places = (given, Path(sysconfig.get_path("stdlib")) / "LICENSE.txt", Path(sys.base_prefix) / "LICENSE.txt")
    for place in places:
        if place is not None and place.is_file():
            return place.read_text(encoding="utf-8").strip()
    return "Python Software Foundation License; see https://docs.python.org/3/license.html"
