"""Every file, module, make target, variable and test that the documents name in code is there, and every file that the
code names in its own."""

import re
from collections.abc import Iterator
from functools import cache

import pytest

from coordinator.config import SETTINGS as COORDINATOR_SETTINGS
from runner.config import SETTINGS as RUNNER_SETTINGS
from tests.meta.shape_test import PACKAGES, ROOT, files, shown
from tests.meta.shape_test import sources as python_files

TOPS = (*PACKAGES, "tests", "benchmarks", "packaging", "docs")
DOCUMENTS = sorted(shown(path) for path in files() if path.suffix == ".md")
SETTINGS = {setting.key for setting in (*COORDINATOR_SETTINGS, *RUNNER_SETTINGS)}
NOT_OURS = {"train.py", "script.py", "long.py", "gogrid/__init__.pyc", "job/in/main.py", "version.py"}
"""What a reader's own files are called, what a build makes, and a file of torch."""
_CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
_PATH = re.compile(rf"(?<![\w./~{{}}<-])(?:{'|'.join(TOPS)})/[\w./-]*\w")
_FILE = re.compile(r"(?<![\w.{}<$-])(?!_test\.)[\w/-]*\w\.(?:py|js|md)\b(?!\.)")
_MODULE = re.compile(
    rf"(?<![\w./-])(?:{'|'.join((*PACKAGES, 'benchmarks'))})(?!\.(?:toml|log|zip|nsi|sb)\b)(?:\.[a-z_]\w*)+(?![\w/])"
)
_TARGET = re.compile(r"^make ([a-z][\w-]*)|`make ([a-z][\w-]*)", re.MULTILINE)
_VARIABLE = re.compile(r"\bGOGRID_[A-Z0-9_]*[A-Z0-9]\b")
_TEST = re.compile(r"\btest_[a-z]\w+(?!\w|\.py)")


@cache
def tree() -> frozenset[str]:
    """Every file and folder, by each end of its path that whole names make."""
    paths = {path.relative_to(ROOT) for path in files()}
    paths |= {parent for path in paths for parent in path.parents}
    parts = [path.parts for path in paths]
    return frozenset("/".join(names[at:]) for names in parts for at in range(len(names)))


@cache
def sources() -> str:
    endings = (".py", ".js", ".toml", ".yml", ".spec", ".nsi", "")
    return "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in files() if path.suffix in endings)


def code(document: str) -> Iterator[str]:
    yield from _CODE.findall((ROOT / document).read_text(encoding="utf-8"))


def has_module(name: str) -> bool:
    """A module, or something that it defines."""
    *above, last = name.split(".")
    place = ROOT.joinpath(*above)
    if (place / last).is_dir() or (place / f"{last}.py").is_file():
        return True
    inside = place.with_suffix(".py") if place.with_suffix(".py").is_file() else place / "__init__.py"
    if inside.is_file():
        return bool(re.search(rf"\b{last}\b", inside.read_text(encoding="utf-8")))
    return len(above) > 1 and has_module(".".join(above))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_a_document_names_exists(document: str) -> None:
    told = "\n".join(code(document))
    lost = {path for path in (*_PATH.findall(told), *_FILE.findall(told)) if path.strip("/") not in tree()} - NOT_OURS
    lost |= {name for name in _MODULE.findall(told) if name not in SETTINGS and not has_module(name)}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {one or other for one, other in _TARGET.findall(told)}
    lost |= {f"make {target}" for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)}
    lost |= {name for name in (*_VARIABLE.findall(told), *_TEST.findall(told)) if name not in sources()}
    here = (ROOT / document).parent
    links = _LINK.findall((ROOT / document).read_text(encoding="utf-8"))
    lost |= {link for link in links if "://" not in link and not (here / link).exists()}
    assert lost == set()


def test_a_file_that_the_code_names_in_a_comment_exists() -> None:
    lost = {
        f"{shown(path)}: {name}"
        for path in python_files()
        for name in re.findall(r"`([\w./]+\.(?:py|js|md))`", path.read_text(encoding="utf-8"))
        if name.strip("/") not in tree() | NOT_OURS
    }
    assert lost == set()
