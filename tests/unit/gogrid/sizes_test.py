"""Sizes and durations as people write them."""

import pytest

from gogrid.sizes import format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("1024", 1024),
        ("500M", 500_000_000),
        ("2GB", 2_000_000_000),
        ("2GiB", 2 << 30),
        ("2gi", 2 << 30),
        (" 1.5 GB ", 1_500_000_000),
        ("1TiB", 1 << 40),
        ("7b", 7),
    ],
)
def test_sizes_people_write(text: str, count: int) -> None:
    assert parse_size(text) == count


@pytest.mark.parametrize(
    "text",
    ["", "GB", "-1GB", "1,5GB", "1e9", "2 GBB", "ib", "1ib", "80%", "0x10", "1GB 2GB", "inf", "nan", "٣GB", "9" * 400],
)
def test_sizes_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a size such as 512MB, 2GB or 2GiB"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90.0),
        ("90s", 90.0),
        ("15m", 900.0),
        ("15min", 900.0),
        ("1.5h", 5400.0),
        ("24H", 86400.0),
        ("7 d", 604800.0),
    ],
)
def test_durations_people_write(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-5s", "1w", "1h30m", "1e3", "inf", "٣s", "9" * 400])
def test_durations_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a duration such as 90s, 15m, 24h or 7d"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (98_400_000, "98.4 MB"),
        (999_960, "1.0 MB"),
        (99_960, "100 kB"),
        (9_990_000, "10.0 MB"),
        (450_000_000, "450 MB"),
        (999_999_999, "1.0 GB"),
        (2 << 30, "2.1 GB"),
        (5 * 10**15, "5000 TB"),
    ],
)
def test_sizes_shown(count: int, text: str) -> None:
    assert format_size(count) == text
