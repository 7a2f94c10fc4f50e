"""Sizes, settings and manifests hold their promises for any input."""

import string
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gogrid.config import Setting, boolean, integer, port, resolve, text
from gogrid.errors import ConfigError
from gogrid.ids import Sha256
from gogrid.manifest import ManifestError, ModelFile, ModelManifest, decode_manifest, encode_manifest
from gogrid.sizes import format_size, parse_duration, parse_size

_PARSERS = {"text": text, "boolean": boolean, "integer": integer(-5, 5), "port": port}
_TOML_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=4,
)


def complaint(kind: type[Exception], call: Callable[[], object]) -> str:
    """What is said if it fails in the allowed way, nothing if it works; any other failure is the test's."""
    try:
        call()
    except kind as error:
        return str(error)
    return ""


@given(st.text())
def test_any_text_is_a_size_or_a_value_error(anything: str) -> None:
    assert complaint(ValueError, lambda: parse_size(anything)) in ("", "a size such as 512MB, 2GB or 2GiB")


@given(st.text() | st.from_regex(r"[0-9]{1,400}(\.[0-9]+)?[smhd]?", fullmatch=True))
def test_any_text_is_a_duration_or_a_value_error(anything: str) -> None:
    assert complaint(ValueError, lambda: parse_duration(anything)) in ("", "a duration such as 90s, 15m, 24h or 7d")


@given(st.integers(0, 10**15))
def test_a_shown_size_reads_back_to_its_shown_digits(count: int) -> None:
    assert abs(parse_size(format_size(count)) - count) <= count / 20


@given(st.sampled_from(sorted(_PARSERS)), _TOML_VALUES)
def test_any_value_is_accepted_or_one_line_that_names_the_key(kind: str, value: object) -> None:
    setting: Setting[object] = Setting("part.key", _PARSERS[kind], None, "GOGRID_KEY", "A key.")
    said = complaint(ConfigError, lambda: resolve((setting,), flags={"part.key": value}, environment={}, file=None))
    assert said == "" or "part.key" in said
    assert "\n" not in said


@given(content=st.binary(max_size=200))
def test_any_file_is_accepted_or_one_line_that_names_it(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.toml"
    file.write_bytes(content)
    setting: Setting[object] = Setting("part.key", text, None, "GOGRID_KEY", "A key.")
    said = complaint(ConfigError, lambda: resolve((setting,), flags={}, environment={}, file=file))
    assert said == "" or str(file) in said


_NAME = st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=8)
_HASH = st.text("0123456789abcdef", min_size=64, max_size=64).map(Sha256)
_FILES = st.lists(
    st.builds(
        ModelFile, path=st.lists(_NAME, min_size=1, max_size=3).map("/".join), sha256=_HASH, size=st.integers(0, 2**62)
    ),
    max_size=5,
).map(tuple)


@given(_FILES, st.randoms(use_true_random=False))
def test_a_manifest_comes_back_whole_or_is_refused_and_order_never_matters(files: tuple[ModelFile, ...], rng) -> None:  # type: ignore[no-untyped-def]
    shuffled = list(files)
    rng.shuffle(shuffled)
    one, two = (
        ModelManifest(
            kind="embedding",
            engine="torch",
            format="safetensors",
            context_length=1,
            width=1,
            memory_bytes=1,
            files=order,
        )
        for order in (files, tuple(shuffled))
    )
    try:
        decoded = decode_manifest(encode_manifest(one))
    except ManifestError:
        with pytest.raises(ManifestError):
            decode_manifest(encode_manifest(two))
        return
    assert encode_manifest(one) == encode_manifest(two)
    assert set(decoded.files) == set(files)
    assert all(
        not (Path("/base") / file.path).is_relative_to("/") or ".." not in file.path.split("/")
        for file in decoded.files
    )


@given(st.binary(max_size=300))
def test_any_bytes_are_a_manifest_or_a_manifest_error(data: bytes) -> None:
    said = complaint(ManifestError, lambda: decode_manifest(data))
    assert said == "" or "manifest" in said
