"""Whatever is offered in whatever order: nothing unsigned is installed, numbers only rise, and a verdict comes."""

import io
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.update_publisher import DAY, FILE, NOW, Publisher, fresh, install
from updates.errors import TrustError
from updates.trust.anchors import parse_anchors
from updates.trust.answer import parse_answer, parse_keys_answer
from updates.trust.chain import SignedDocument, SignedKeys
from updates.trust.documents import parse_keys, parse_release, parse_timestamp
from updates.trust.signatures import parse_signature
from updates.trust.verdict import Documents, Install, Refuse, evaluate, verify_artifact

GOOD = Publisher().offer()
PARSERS = (parse_keys, parse_release, parse_timestamp, parse_signature, parse_anchors, parse_answer, parse_keys_answer)
offers = st.builds(
    Publisher,
    ts_seq=st.integers(1, 6),
    seq=st.integers(1, 6),
    percent=st.sampled_from([0, 50, 100]),
    release_by=st.sampled_from(["release1", "release2", "root1"]),
    timestamp_by=st.sampled_from(["timestamp1", "release1"]),
    roots=st.sampled_from([("root1", "root2"), ("root3",)]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(offers, min_size=1, max_size=6), st.floats(-20, 20))
def test_numbers_only_rise_and_only_the_right_keys_install(published: list[Publisher], days: float) -> None:
    state = fresh()
    for publisher in published:
        done = evaluate(publisher.offer(), state, install(seq=1), NOW + days * DAY)
        after = done.state
        assert (after.key_epoch, after.ts_seq, after.release_seq) >= (state.key_epoch, state.ts_seq, state.release_seq)
        assert after.max_issued_at >= state.max_issued_at
        if isinstance(done.verdict, Install):
            assert publisher.release_by == "release1"
            assert publisher.timestamp_by == "timestamp1"
            assert publisher.seq > 1
            assert state.key_epoch or len(publisher.roots) > 1
            assert publisher.seq >= state.release_seq
            verify_artifact(io.BytesIO(FILE), done.verdict, after)
        state = after


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["keys", "timestamp", "release"]), st.data())
def test_any_change_of_a_document_is_refused(what: str, data: st.DataObject) -> None:
    signed = GOOD.keys[0] if what == "keys" else getattr(GOOD, what)
    at = data.draw(st.integers(0, len(signed.data) - 1))
    changed = bytearray(signed.data)
    changed[at] ^= data.draw(st.integers(1, 255))
    bent: Documents
    if isinstance(signed, SignedKeys):
        bent = replace(GOOD, keys=(SignedKeys(bytes(changed), signed.signatures),))
    else:
        bent = replace(GOOD, **{what: SignedDocument(bytes(changed), signed.signature)})
    assert isinstance(evaluate(bent, fresh(), install(), NOW).verdict, Refuse)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400) | st.text(max_size=300).map(str.encode), st.sampled_from(PARSERS))
def test_any_bytes_are_parsed_or_refused_with_a_reason(data: bytes, parse) -> None:
    with suppress(TrustError):
        parse(data)


def test_deep_nesting_is_refused() -> None:
    deep = b'{"x":' * 100_000
    for parse in PARSERS:
        with pytest.raises(TrustError):
            parse(deep[: 60 << 10])
