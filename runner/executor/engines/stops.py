"""Stop strings over text that comes in pieces. Pure.

Promises: what is let out, joined, is the text up to the first stop string and never one character of it; text is
held back only while it could still become a stop string.
"""


class StopFilter:
    """One answer's stop strings; empty strings among them are ignored."""

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self._stopped = False

    def stopped(self) -> bool:
        """Whether a stop string has come; nothing goes out any more."""
        return self._stopped

    def feed(self, text: str) -> str:
        """The part of the text so far that may go out now."""
        if self._stopped:
            return ""
        text = self._held + text
        found = [position for stop in self._stops if (position := text.find(stop)) >= 0]
        if found:
            self._stopped, self._held = True, ""
            return text[: min(found)]
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        cut = len(text) - keep
        self._held = text[cut:]
        return text[:cut]

    def finish(self) -> str:
        """What was held back, when nothing more comes."""
        rest, self._held = self._held, ""
        return rest


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    for size in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:size]):
            return size
    return 0
