"""Rules of the house that no linter has: sizes, names, docstrings, what must not be in the tree. Each says why."""

import ast
import os
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("gogrid", "coordinator", "runner", "tray", "updates", "sandbox_profiles")
LONGEST_FILE = 450
LONGEST_FUNCTION = 80
_TEXT = {".py", ".md", ".toml", ".yml", ".ini", ".cfg", ".sh", ".mako", ".importlinter", ".gitignore"}
_SKIPPED = re.compile(r"^\.(?!github$|ci$)|^(build|dist|__pycache__)$|\.egg-info$")
"""Folders of tools, not of the tree."""
_MACHINE_PATH = re.compile(rf"(?<![\w.$}}])(/root/|/Users/\w|{re.escape(str(ROOT))}\b|{re.escape(str(Path.home()))}/)")
_UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")


@cache
def files() -> tuple[Path, ...]:
    """Everything that a clean clone holds, and new files that are about to be added."""
    found: list[Path] = []
    for folder, inner, names in os.walk(ROOT):
        inner[:] = sorted(name for name in inner if not _SKIPPED.search(name))
        found += [Path(folder, name) for name in sorted(names)]
    return tuple(found)


def sources(*folders: str) -> list[Path]:
    wanted = folders or (*PACKAGES, "tests", "benchmarks", "packaging")
    return [path for path in files() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in wanted]


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_no_file_is_too_long_to_be_read_at_once() -> None:
    lengths = {shown(path): len(path.read_text(encoding="utf-8").splitlines()) for path in sources()}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}


def test_no_function_is_too_long_to_be_seen_whole() -> None:
    long = {}
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                if length > LONGEST_FUNCTION:
                    long[f"{shown(path)}:{node.name}"] = length
    assert long == {}


def test_every_package_and_module_says_what_it_promises() -> None:
    silent = [
        shown(path) for path in sources(*PACKAGES) if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert silent == []


def test_packaging_does_not_shadow_the_library_of_that_name() -> None:
    assert not (ROOT / "packaging" / "__init__.py").exists(), "`import packaging` must find PyPI's, which pip needs"


def test_test_files_have_names_of_their_own_and_are_collected() -> None:
    names = Counter(path.stem for path in sources("tests") if path.stem not in ("__init__", "conftest"))
    assert {name: count for name, count in names.items() if count > 1} == {}
    lost = [
        shown(path)
        for path in sources("tests")
        if re.search(r"^(async )?def test_", path.read_text(encoding="utf-8"), re.MULTILINE)
        and not re.fullmatch(r"test_.*|.*_test|.*_suite", path.stem)
    ]
    assert lost == [], "pytest would never run these"


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        (_MACHINE_PATH, "paths of one machine mean nothing on another"),
        (_UNFINISHED, "unfinished work is an issue, not a comment"),
    ],
)
def test_the_tree_holds_no_leftovers(pattern: re.Pattern[str], why: str) -> None:
    found = [
        f"{shown(path)}:{number}: {line.strip()[:80]}"
        for path in files()
        if (path.suffix in _TEXT or path.name in _TEXT or path.name == "Makefile") and path != Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == [], why


def test_no_generated_or_private_file_lies_in_the_tree() -> None:
    bad = [
        shown(path) for path in files() if path.suffix in (".pyc", ".db", ".sqlite", ".key", ".log", ".orig", ".rej")
    ]
    assert bad == []


def test_production_code_does_not_know_that_it_is_tested() -> None:
    knowing = [
        shown(path)
        for path in sources(*PACKAGES)
        if re.search(r"PYTEST_CURRENT_TEST|\bimport pytest\b|unittest\.mock|sys\.modules\[.pytest", path.read_text())
    ]
    assert knowing == []
