"""QUIC as both ends use it: a bounded connection, and the few private attributes of aioquic that GoGrid depends on.

Only the two link modules (`coordinator.quic`, `runner.link.connection`) import this. Every private name is in
`private.py` and `bounded.py`, and checked against the pinned aioquic by `tests/conformance/aioquic_contract_test.py`.
"""
