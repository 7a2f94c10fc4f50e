"""How much is served at once never exceeds the cap."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")

from gogrid.protocol.job_messages import FailCode
from runner.errors import ModelError
from runner.executor.engines.batcher import PAGE
from runner.executor.engines.capacity import Demand, capacity

pytestmark = pytest.mark.torch


@given(
    st.builds(
        Demand,
        used=st.integers(0, 1 << 33),
        per_token=st.integers(64, 1 << 20),
        vocabulary=st.integers(100, 300_000),
        widest=st.integers(64, 1 << 16),
        context=st.integers(16, 1 << 20),
    ),
    st.integers(1 << 20, 1 << 37),
)
def test_cap_holds_for_any_model(demand: Demand, cap: int) -> None:
    try:
        limits, context = capacity(demand, cap, slots=16, chunk=256, usual=512)
    except ModelError as refused:
        if refused.code is FailCode.NO_ROOM:
            return
        raise
    assert demand.used + (limits.blocks + 2) * PAGE * demand.per_token <= cap
    assert 1 <= limits.slots <= 16
    assert 1 <= context <= min(demand.context, limits.blocks * PAGE)
