"""The engine pack of this machine, out of the folder in which they lie."""

import logging
import sys
from pathlib import Path

from runner.engine_pack.choice import PackChoice, choose_pack
from runner.engine_pack.ledger import Ledger, load_ledger
from runner.engine_pack.shelf import EnginePackError, Shelf
from updates.engine_pack.system import os_version, this_system

log = logging.getLogger(__name__)


def find_pack(folder: Path, accelerator: str) -> PackChoice:
    """The best whole pack in `folder`; logs why others are passed over."""
    packs, wrong = Shelf(folder).packs()
    for words in wrong:
        log.error("%s", words)
    try:
        ledger = load_ledger(folder)
    except EnginePackError as error:
        log.error("%s", error)
        ledger = Ledger()
    return choose_pack(packs, this_system(), this_python(), accelerator, ledger.seqs, os_version())


def this_python() -> str:
    """`cp311`."""
    return f"cp{sys.version_info.major}{sys.version_info.minor}"
