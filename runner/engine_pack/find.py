"""The engine pack of this machine, out of the folder in which they lie."""

import logging
import sys
from pathlib import Path

from runner.engine_pack.choice import PackChoice, choose_pack
from runner.engine_pack.shelf import Shelf
from updates.engine_pack.system import this_system

log = logging.getLogger(__name__)


def find_pack(folder: Path, accelerator: str) -> PackChoice:
    """The best whole pack in `folder`; logs why others are passed over."""
    packs, wrong = Shelf(folder).packs()
    for words in wrong:
        log.error("%s", words)
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    return choose_pack(packs, this_system(), python, accelerator)
