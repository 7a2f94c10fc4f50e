"""Which `/dev/nvidia<N>` belongs to which GPU UUID, as the NVIDIA driver tells in /proc."""

import re
from pathlib import Path

from runner.errors import SandboxUnavailableError

_FACT = re.compile(r"^(GPU UUID|Device Minor):\s*(\S+)\s*$", re.MULTILINE)


def gpu_nodes(uuids: tuple[str, ...], driver: Path = Path("/proc/driver/nvidia/gpus")) -> tuple[str, ...]:
    """The device node of each UUID, in the same order. Raises `SandboxUnavailableError` for one that is not here."""
    minors: dict[str, str] = {}
    for information in sorted(driver.glob("*/information")) if uuids else ():
        facts = dict(_FACT.findall(information.read_text()))
        if facts.keys() == {"GPU UUID", "Device Minor"} and facts["Device Minor"].isdecimal():
            minors[facts["GPU UUID"]] = facts["Device Minor"]
    missing = [uuid for uuid in uuids if uuid not in minors]
    if missing:
        raise SandboxUnavailableError(
            f"The GPU {missing[0]} has no device node: the NVIDIA driver lists {', '.join(minors) or 'no GPU'}."
        )
    return tuple(f"/dev/nvidia{minors[uuid]}" for uuid in uuids)
