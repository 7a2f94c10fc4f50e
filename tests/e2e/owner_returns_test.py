"""Somebody sits down at a worker in the middle of its answers: its memory is theirs, and no client notices."""

import asyncio
from collections.abc import Iterator

import pytest

from benchmarks.display import display
from benchmarks.yield_to_owner import OwnedPair
from tests.faults.faultgrid import within

pytestmark = [pytest.mark.desktop, pytest.mark.sandbox]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnedPair]:
    with display() as seat, OwnedPair(tmp_path_factory.mktemp("owned") / "grid", seat) as made:
        yield made


def test_the_owners_input_moves_answers_and_frees_memory(pair: OwnedPair) -> None:
    (whole,) = asyncio.run(pair.answers(1))
    done = pair.round()  # returns only when its executors are gone
    assert {answer.text for answer in done.answers} == {whole.text}
    assert within(15, lambda: pair.readiness()[0] == "ready", 0.1)
    log = pair.grid.log("owned")
    assert "gates: the computer is in use" in log
    assert "gates: open" in log
