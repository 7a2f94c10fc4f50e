"""A digest names every byte of a model; a manifest cannot point out of its folder."""

import msgspec
import pytest

from gogrid.ids import Sha256
from gogrid.manifest import ManifestError, ModelFile, ModelManifest, decode_manifest, digest_of, encode_manifest

HASH = Sha256("a" * 64)


def manifest(*paths: str, **changes: object) -> ModelManifest:
    whole = ModelManifest(
        kind="chat",
        engine="torch",
        format="safetensors",
        context_length=2048,
        width=0,
        memory_bytes=10**9,
        files=tuple(ModelFile(path=path, sha256=HASH, size=3) for path in paths),
    )
    return msgspec.structs.replace(whole, **changes)


def test_what_was_encoded_comes_back_and_its_digest_does_not_depend_on_order() -> None:
    one, two = manifest("a/b.json", "model.safetensors"), manifest("model.safetensors", "a/b.json")
    assert encode_manifest(one) == encode_manifest(two)
    assert decode_manifest(encode_manifest(two)) == one
    assert one.size_bytes == 6


def test_the_digest_is_sha256_in_hexadecimal() -> None:
    assert digest_of(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "../x",
        "a/../b",
        "a//b",
        "./a",
        ".hidden",
        "a\\b",
        "c:x",
        "a\x00",
        "a\n",
        "a b",
        "é",
        "x" * 129,
        "a/",
    ],
)
def test_a_path_that_could_leave_the_folder_is_refused(path: str) -> None:
    with pytest.raises(ManifestError, match="not a plain relative path"):
        decode_manifest(encode_manifest(manifest(path)))


def test_names_that_one_system_takes_for_one_are_refused() -> None:
    with pytest.raises(ManifestError, match="twice"):
        decode_manifest(encode_manifest(manifest("Model.json", "model.json")))


def test_a_file_in_place_of_a_folder_is_refused() -> None:
    with pytest.raises(ManifestError, match="both as a file and as a folder"):
        decode_manifest(encode_manifest(manifest("a", "a/b")))


@pytest.mark.parametrize(
    "file", [ModelFile("a", Sha256("A" * 64), 1), ModelFile("a", Sha256("a" * 63), 1), ModelFile("a", HASH, -1)]
)
def test_hashes_and_sizes_are_checked(file: ModelFile) -> None:
    with pytest.raises(ManifestError, match="no proper hash or size"):
        decode_manifest(encode_manifest(manifest(files=(file,))))


@pytest.mark.parametrize("field", ["context_length", "width", "memory_bytes"])
def test_negative_measures_are_refused(field: str) -> None:
    with pytest.raises(ManifestError, match=field):
        decode_manifest(encode_manifest(manifest("a", **{field: -1})))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff", b'{"schema":2}', b"[" * 100_000, b'{"schema":1}'])
def test_bytes_that_are_no_manifest_are_one_error(data: bytes) -> None:
    with pytest.raises(ManifestError, match="not a model manifest"):
        decode_manifest(data)
