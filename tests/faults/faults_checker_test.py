"""The checker finds each defect in a forged log, so that its silence means something."""

from pathlib import Path

import msgspec
import pytest

from tests.faults.checker import check
from tests.faults.client_log import Accepted, Acknowledged, AnyEntry, Attempted, ClientLog, Completed, read_log
from tests.faults.figures import Row, Table


def good(op: str, job: str) -> list[AnyEntry]:
    return [
        Attempted(op),
        Acknowledged(op, job),
        Completed(op, job, "done", "mark"),
        Completed(op, job, "done", "mark"),
        Accepted(op, job, 2),
    ]


GOOD = [*good("a", "job_1"), *good("b", "job_2"), Attempted("never acknowledged")]
DEFECTS: list[tuple[str, list[AnyEntry], tuple[int, int, int]]] = [
    ("an acknowledged job that never ended", [Attempted("c"), Acknowledged("c", "job_3")], (1, 0, 0)),
    (
        "a job that ended as it should not",
        [Attempted("c"), Acknowledged("c", "job_3"), Completed("c", "job_3", "failed", "m")],
        (1, 0, 0),
    ),
    ("a completion of nothing that was attempted", [Completed("c", "job_3", "done", "m")], (0, 0, 1)),
    ("an acknowledgement of nothing that was attempted", [*good("c", "job_3")[1:]], (0, 0, 1)),
    ("a result that was replaced", [Completed("a", "job_1", "done", "other mark")], (0, 1, 0)),
    ("one key that gave two jobs", [Acknowledged("a", "job_9")], (0, 1, 0)),
    ("two leases whose result was taken", [Accepted("a", "job_1", 3)], (0, 1, 0)),
]


def test_a_clean_log_is_clean() -> None:
    verdict = check(GOOD)
    assert verdict.clean
    assert (verdict.attempted, verdict.acknowledged, verdict.completed, verdict.examples) == (3, 2, 2, ())


def test_a_job_that_was_meant_to_die_is_not_lost() -> None:
    log = [Attempted("p", "dead"), Acknowledged("p", "job_1"), Completed("p", "job_1", "dead", "m")]
    assert check(log).clean
    assert check([Attempted("p", "dead"), Acknowledged("p", "job_1"), Completed("p", "job_1", "done", "m")]).lost == 1


@pytest.mark.parametrize(("defect", "forged", "counts"), DEFECTS, ids=[defect[0] for defect in DEFECTS])
def test_each_defect_is_found_wherever_it_stands(defect: str, forged: list[AnyEntry], counts: tuple[int, ...]) -> None:
    for log in ([*GOOD, *forged], [*forged, *GOOD]):
        verdict = check(log)
        assert verdict.counts == counts, defect
        assert not verdict.clean
        assert len(verdict.examples) == 1


def test_the_log_gives_back_what_was_written_and_no_half_line(tmp_path: Path) -> None:
    path = tmp_path / "client.log"
    for entry in GOOD:
        with ClientLog(path) as log:
            log.write(entry)
    with path.open("ab") as file:
        file.write(b'{"what":"acknowledged","op":"c","jo')
    assert list(read_log(path)) == GOOD


def test_a_line_that_is_none_of_ours_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "client.log"
    path.write_bytes(b'{"what":"forged","op":"c"}\n')
    with pytest.raises(msgspec.DecodeError):
        list(read_log(path))


def test_a_fault_that_was_not_survived_is_in_the_table_and_in_the_file(tmp_path: Path) -> None:
    table = Table()
    table.add(Row("power_cut", 320, "lost 0", met=False, verdict=check([*GOOD, *DEFECTS[0][1]]), others={"s": 1.23456}))
    table.add(Row("disk_full", 1, "507", met=True))
    assert "NO" in table.text()
    file = tmp_path / "faults.json"
    table.save(file, keep=False)
    other = Table()
    other.add(Row("disk_full", 2, "507", met=True))
    other.save(file, keep=True)
    saved = msgspec.json.decode(file.read_bytes())
    assert saved["power_cut"]["lost"] == 1
    assert "never completed" in saved["power_cut"]["why"][0]
    assert saved["disk_full"]["count"] == 2
