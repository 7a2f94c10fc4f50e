"""The licences of everything in the frozen app, from the packages' own metadata, as one text.

A package without a licence file is named with what its metadata says, so that nothing is silently left out.
"""

import sys
import sysconfig
from collections.abc import Iterable
from importlib.metadata import Distribution, distributions
from pathlib import Path

_NAMES = ("LICENSE", "LICENCE", "COPYING", "NOTICE", "AUTHORS")
_RULE = "=" * 100


def licences_text(modules: Iterable[str], *, python_license: Path | None = None) -> str:
    """Of Python itself and of every installed distribution that brings one of these top-level modules."""
    wanted = set(modules)
    parts = [("Python " + sys.version.split()[0], _python(python_license))]
    for each in sorted(distributions(), key=lambda each: each.metadata["Name"].lower()):
        if _tops(each) & wanted and each.metadata["Name"].lower() != "gogrid":
            parts.append((f"{each.metadata['Name']} {each.version}", _texts(each)))
    listed = "\n".join(f"  {name}" for name, _ in parts)
    head = f"This program contains the following works of others, under the licences that follow.\n\n{listed}\n"
    return head + "".join(f"\n{_RULE}\n{name}\n{_RULE}\n\n{text}\n" for name, text in parts)


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
    return "\n\n".join(found) or f"No licence file; its metadata says: {said}"


def _python(given: Path | None) -> str:
    places = (given, Path(sysconfig.get_path("stdlib")) / "LICENSE.txt", Path(sys.base_prefix) / "LICENSE.txt")
    for place in places:
        if place is not None and place.is_file():
            return place.read_text(encoding="utf-8").strip()
    return "Python Software Foundation License; see https://docs.python.org/3/license.html"
