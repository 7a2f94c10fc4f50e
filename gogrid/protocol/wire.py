"""The two bases of everything that is encoded for the worker connection."""

import msgspec


class Wire(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """Base of everything on the wire; the tag is the class name."""


class Value(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of typed values inside messages."""
