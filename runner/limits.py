"""How much of the machine its owner lends: an amount, or a share of what is there."""

from dataclasses import dataclass

from gogrid.sizes import format_size, parse_size


@dataclass(frozen=True, slots=True)
class Limit:
    """Exactly one of the two is set."""

    bytes: int | None = None
    share: float | None = None
    """0 < share ≤ 1."""

    def of(self, total: int) -> int:
        """Bytes that may be used of `total`; never more than there is."""
        if self.bytes is not None:
            return min(self.bytes, total)
        return int(total * (self.share or 0.0))

    def __str__(self) -> str:
        return format_size(self.bytes) if self.bytes is not None else f"{(self.share or 0.0) * 100:g}%"


def limit(value: object) -> Limit:
    """From `80%`, `12GB` or `12GiB`.

    Raises:
        ValueError: says what is allowed.
    """
    allowed = ValueError("a share such as 80%, or a size with its unit such as 12GB or 12GiB")
    if not isinstance(value, str):
        raise allowed
    word = value.strip()
    if word.endswith("%"):
        return _share(word[:-1])
    if not word or word[-1].isdigit():
        raise allowed
    try:
        size = parse_size(word)
    except ValueError:
        raise allowed from None
    return Limit(bytes=size)


def limit_in_gb(value: object) -> Limit:
    """From a number of gigabytes (10⁹ bytes) as `8.0`, or any text that `limit` takes.

    Raises:
        ValueError: says what is allowed.
    """
    allowed = ValueError("gigabytes such as 8.0, a share such as 80%, or a size such as 12GB or 12GiB")
    if isinstance(value, bool):
        raise allowed
    try:
        number = float(value) if isinstance(value, int | float | str) else None
    except ValueError:
        number = None
    if number is not None:
        if not 0 <= number < 1e6:
            raise allowed
        return Limit(bytes=int(number * 1e9))
    try:
        return limit(value)
    except ValueError:
        raise allowed from None


def _share(text: str) -> Limit:
    allowed = ValueError("a share from 1% to 100%")
    try:
        percent = float(text)
    except ValueError:
        raise allowed from None
    if not 1 <= percent <= 100:
        raise allowed
    return Limit(share=percent / 100)
