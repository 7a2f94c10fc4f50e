"""Which engine packs came from which release: `engines/fetched.json`. A pack that is not in it is its owner's affair.

Changes are pure functions. The file is whole at any moment.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from gogrid.files import write_whole
from runner.engine_pack.shelf import EnginePackError

_NAME = "fetched.json"
_LARGEST = 64 << 10
_MOST = 64


class Fetched(msgspec.Struct, frozen=True, kw_only=True):
    """One pack of a release that was verified."""

    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    seq: Annotated[int, Meta(ge=1, le=(1 << 53) - 1)]
    version: Annotated[str, Meta(max_length=64)]
    served: bool = False
    """A model has answered with it."""


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    packs: Annotated[tuple[Fetched, ...], Meta(max_length=_MOST)] = ()

    def of(self, sha256: str) -> Fetched | None:
        return next((pack for pack in self.packs if pack.sha256 == sha256), None)

    @property
    def seqs(self) -> Mapping[str, int]:
        """The release of each."""
        return {pack.sha256: pack.seq for pack in self.packs}


def added(ledger: Ledger, fresh: Fetched) -> Ledger:
    others = tuple(pack for pack in ledger.packs if pack.sha256 != fresh.sha256)
    return Ledger(packs=(*others, fresh)[-_MOST:])


def served(ledger: Ledger, sha256: str) -> Ledger:
    """It has proved itself."""
    return Ledger(
        packs=tuple(
            msgspec.structs.replace(pack, served=True) if pack.sha256 == sha256 else pack for pack in ledger.packs
        )
    )


def superseded(ledger: Ledger, used: str) -> tuple[str, ...]:
    """Fetched packs that nobody needs any more; none before the one that is used has served."""
    current = ledger.of(used)
    if current is None or not current.served:
        return ()
    return tuple(pack.sha256 for pack in ledger.packs if pack.sha256 != used and pack.seq <= current.seq)


def without(ledger: Ledger, gone: tuple[str, ...]) -> Ledger:
    return Ledger(packs=tuple(pack for pack in ledger.packs if pack.sha256 not in gone))


def load_ledger(engines: Path) -> Ledger:
    """Raises `EnginePackError`: it is damaged."""
    path = engines / _NAME
    try:
        if path.stat().st_size > _LARGEST:
            raise EnginePackError(f"{path} is damaged; remove it, and its packs with: gogrid-worker engine remove")
        return msgspec.json.decode(path.read_bytes(), type=Ledger)
    except FileNotFoundError:
        return Ledger()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OSError) as error:
        raise EnginePackError(f"{path} cannot be used ({error}); remove it.") from error


def save_ledger(engines: Path, ledger: Ledger) -> None:
    """On the disk when this returns. Raises `OSError`."""
    write_whole(engines / _NAME, msgspec.json.encode(ledger), private=True, replace=True)
