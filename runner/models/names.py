"""What the coordinator calls the models that lie here, also after the worker has started anew.

Promises: the event loop never waits for the disk; names are kept for models on disk alone, so that the file stays as
small as the cache; a file that cannot be read is no names, and one that cannot be written a line in the log: names are
for people, and nothing depends on them.
"""

import asyncio
import logging
from collections.abc import Iterable, MutableMapping
from pathlib import Path

import msgspec

from gogrid.files import write_whole
from gogrid.ids import Sha256
from gogrid.regular_file import read_regular
from runner.threads import in_thread

log = logging.getLogger(__name__)
_LARGEST = 4 << 20


def load_names(path: Path) -> dict[Sha256, str]:
    """Those that were kept; none if there is no such file, or nothing in it can be understood."""
    try:
        return msgspec.json.decode(read_regular(path, _LARGEST), type=dict[Sha256, str])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        log.warning("what models are called cannot be read: %s: %s", path, error)
        return {}


class ModelNames:
    """Use from one event loop."""

    def __init__(self, path: Path, names: MutableMapping[Sha256, str]) -> None:
        """`names` of the models that were asked for; what was kept is added by `open`."""
        self._path, self._names = path, names
        self._kept: dict[Sha256, str] = {}
        self._due = asyncio.Event()

    def open(self) -> None:
        """Take up what an earlier process kept."""
        self._kept = load_names(self._path)
        for digest, name in self._kept.items():
            self._names.setdefault(digest, name)

    def changed(self, on_disk: Iterable[Sha256]) -> None:
        """A model was asked for, came or went; these are here now."""
        kept = {digest: self._names[digest] for digest in on_disk if digest in self._names}
        if kept != self._kept:
            self._kept = kept
            self._due.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._due.wait()
            self._due.clear()
            content = msgspec.json.encode(self._kept)
            try:
                await in_thread(lambda _stop, content=content: self._write(content), "model names")  # type: ignore[misc]
            except OSError as error:
                log.warning("what models are called is not kept: %s: %s", self._path, error)

    def _write(self, content: bytes) -> None:
        write_whole(self._path, content, private=True, replace=True)
