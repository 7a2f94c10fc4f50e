"""Models whose process keeps crashing here. Pure: `now` in monotonic seconds.

Promises: after `IN_A_ROW` crashes without one answered request in between, a model is refused for a while, then tried
again; each time it goes on crashing the while doubles; one answered request clears it.
"""

from dataclasses import dataclass

from gogrid.ids import Sha256

IN_A_ROW = 3
FIRST_S = 60.0
LONGEST_S = 1800.0


@dataclass(slots=True)
class _Record:
    crashes: int = 0
    why: str = ""
    until: float = 0.0


class Crashes:
    def __init__(self) -> None:
        self._records: dict[Sha256, _Record] = {}

    def crashed(self, digest: Sha256, why: str, now: float) -> None:
        """`why` completes "its process crashed"."""
        record = self._records.setdefault(digest, _Record())
        record.crashes += 1
        record.why = why
        if record.crashes >= IN_A_ROW:
            record.until = now + min(LONGEST_S, FIRST_S * 2.0 ** (record.crashes - IN_A_ROW))

    def answered(self, digest: Sha256) -> None:
        self._records.pop(digest, None)

    def refusal(self, digest: Sha256, now: float) -> str:
        """Why the model is refused now, in words; empty: it is not."""
        record = self._records.get(digest)
        if record is None or now >= record.until:
            return ""
        return f"its process crashed {record.crashes} times in a row here (the last time: {record.why})"

    def refused(self, now: float) -> dict[Sha256, str]:
        found = {digest: self.refusal(digest, now) for digest in self._records}
        return {digest: reason for digest, reason in found.items() if reason}

    def next_end(self, now: float) -> float | None:
        """When the next refusal ends."""
        return min((record.until for record in self._records.values() if record.until > now), default=None)
