"""Which of the owner's exclusive programs run now, by name.

The name of each process is asked for twice, when it is new and at the next look (it may have become another program
meanwhile), and then no more: hundreds of names every few seconds would be work that the owner pays for.
"""

from contextlib import suppress

import psutil


class Programs:
    def __init__(self) -> None:
        self._names: dict[int, tuple[str, bool]] = {}
        """Lower case, and whether it was asked for twice."""

    def running(self, wanted: tuple[str, ...]) -> frozenset[str]:
        """Args: wanted: lower case, with or without `.exe`."""
        names: dict[int, tuple[str, bool]] = {}
        for pid in psutil.pids():
            known = self._names.get(pid)
            if known is not None and known[1]:
                names[pid] = known
                continue
            with suppress(psutil.Error):
                names[pid] = psutil.Process(pid).name().lower(), known is not None
        self._names = names
        found = {name for name, _ in names.values()}
        return frozenset(name for name in wanted if name in found or f"{name}.exe" in found)
