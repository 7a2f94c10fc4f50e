"""The threat table names a test for every row of the study that is about jobs, and every test that it names exists."""

import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "sandbox_profiles/README.md").read_text()
ROWS = {*range(1, 15), 24}


def _rows() -> list[list[str]]:
    lines = [line for line in TABLE.splitlines() if line.startswith("|") and line.count("|") == 6]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if row[0] not in ("#", "---")]


@cache
def _tests() -> tuple[str, str]:
    """The names of all test files, and of all tests."""
    files = sorted((ROOT / "tests").rglob("*_test.py"))
    names = (name for file in files for name in re.findall(r"def (test_\w+)", file.read_text()))
    return " ".join(file.name for file in files), " ".join(names)


def test_every_row_of_the_study_about_jobs_has_a_test() -> None:
    proved = {int(row[0]) for row in _rows() if row[0].isdecimal() and "`" in row[4]}
    assert proved >= ROWS


def test_every_test_that_the_table_names_exists() -> None:
    files, tests = _tests()
    missing = []
    for row in _rows():
        for name in re.findall(r"`([^`]+)`", row[4]):
            if name.endswith("_test.py") and Path(name).name not in files:
                missing.append(name)
            word = name.strip("…").strip("_")
            if re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)+", word) and word not in tests:
                missing.append(name)
    assert missing == []
