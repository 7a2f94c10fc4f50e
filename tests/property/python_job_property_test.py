"""Any bytes from a sandbox give a record or `ProtocolError`; any name becomes one that every system can store."""

from hypothesis import given
from hypothesis import strategies as st

from gogrid.errors import ProtocolError
from runner.python_job import pipe
from runner.python_job.names import MAX_DEPTH, check_name, plain_name

records = st.one_of(
    st.just(pipe.Began()),
    st.just(pipe.Done()),
    st.builds(pipe.Output, st.sampled_from(["stdout", "stderr"]), st.binary()),
    st.builds(pipe.FileBegins, st.text(), st.integers(0, 2**64 - 1), st.text(max_size=300)),
    st.builds(pipe.FileData, st.binary()),
    st.builds(
        pipe.Ended,
        st.integers(0, 255),
        st.integers(0, 64),
        st.integers(0, 2**63),
        st.integers(0, 2**63),
        st.integers(0, 2**32 - 1),
        st.booleans(),
    ),
)
system_names = (
    st.binary(min_size=1, max_size=255)
    .filter(lambda name: not {0, ord("/")} & set(name) and name not in (b".", b".."))
    .map(lambda name: name.decode(errors="surrogateescape"))
)


@given(records)
def test_every_record_survives_the_pipe(record: pipe.Record) -> None:
    assert pipe.decode(pipe.encode(record)) == record


@given(st.binary(max_size=200))
def test_any_bytes_are_a_record_or_a_protocol_error(payload: bytes) -> None:
    try:
        record = pipe.decode(payload)
    except ProtocolError:
        return
    assert pipe.decode(pipe.encode(record)) == record


@given(st.lists(st.lists(system_names, min_size=1, max_size=MAX_DEPTH).map(tuple), max_size=20))
def test_every_name_becomes_a_plain_and_distinct_one(paths: list[tuple[str, ...]]) -> None:
    taken: set[str] = set()
    names = [plain_name(path, taken) for path in paths]
    assert [check_name(name) for name in names] == [""] * len(names)
    assert len({name.casefold() for name in names}) == len(names)


@given(st.text())
def test_any_text_is_judged_as_a_name(name: str) -> None:
    if not check_name(name):
        assert plain_name(tuple(name.split("/")), set()) == name
