"""The fault suite's two forms and its table.

`pytest tests/faults` runs the short form, part of `make test`. `--soak` runs every fault as often as
docs/reliability.md says (`make soak`), `--only NAME[,NAME]` picks faults by the name in their `fault` marker. Every
test adds what it measured to `table`; at the end the table is printed (short form: with -v) and, in the full form,
written to `build/faults.json`.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from tests.faults.faultgrid import FaultGrid
from tests.faults.figures import Table

ROOT = Path(__file__).parents[2]
LONGEST_S = 1200
"""Of one test in the full form."""
T = TypeVar("T")
_TABLE = pytest.StashKey[Table]()


@dataclass(frozen=True, slots=True)
class Form:
    """Which form runs."""

    soak: bool

    def pick(self, short: T, full: T) -> T:
        return full if self.soak else short


def full_form(names: Iterable[str], *, keep: Collection[str]) -> list[object]:
    """Parameters of which the short form runs only those in `keep`."""
    return [name if name in keep else pytest.param(name, marks=pytest.mark.soak) for name in names]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults")
    group.addoption("--soak", action="store_true", default=False, help="the full form of the fault suite")
    group.addoption("--only", default="", help="only these faults: names with commas between them")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "fault(name): a scenario of the fault suite, chosen by --only")
    config.addinivalue_line("markers", "soak: runs only in the full form")
    config.stash[_TABLE] = Table()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    soak = config.getoption("soak", default=False)
    wanted = {name for name in config.getoption("only", default="").split(",") if name}
    here = [item for item in items if item.path.is_relative_to(Path(__file__).parent)]
    known = {marker.args[0] for item in here for marker in item.iter_markers("fault")}
    if wanted - known:
        raise pytest.UsageError(
            f"--only: no fault is called {', '.join(sorted(wanted - known))}; there are {', '.join(sorted(known))}."
        )
    left_out = []
    for item in here:
        names = {marker.args[0] for marker in item.iter_markers("fault")}
        if (wanted and not names & wanted) or (not soak and item.get_closest_marker("soak")):
            left_out.append(item)
        elif soak:
            item.add_marker(pytest.mark.timeout(LONGEST_S))
    if left_out:
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    table = config.stash.get(_TABLE, Table())
    soak = config.getoption("soak", default=False)
    if not table.rows or not (soak or config.getoption("verbose") >= 0):
        return
    terminalreporter.section("faults")
    terminalreporter.write_line(table.text())
    if soak:
        file = ROOT / "build" / "faults.json"
        table.save(file, keep=bool(config.getoption("only", default="")))
        terminalreporter.write_line(f"written to {file.relative_to(ROOT)}")


@pytest.fixture(scope="session")
def form(pytestconfig: pytest.Config) -> Form:
    return Form(pytestconfig.getoption("soak", default=False))


@pytest.fixture
def table(pytestconfig: pytest.Config) -> Table:
    """Where a test puts its row, before it judges it: a fault that was not survived is shown too."""
    return pytestconfig.stash[_TABLE]


@pytest.fixture(scope="session")
def _pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultGrid]:
    with FaultGrid(tmp_path_factory.mktemp("pair")) as grid:
        grid.add_proxied("one")
        grid.add_proxied("two")
        grid.wait_ready()
        yield grid


@pytest.fixture
def pair(_pair: FaultGrid) -> FaultGrid:
    """Two workers, `one` and `two`, each behind a proxy: one grid for all tests, whole again for each."""
    _pair.mend()
    return _pair
