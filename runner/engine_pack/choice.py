"""Which engine pack this machine's executors import from: a pure function of what is installed and what was found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gogrid.protocol.worker_report import DeviceKind
from runner.config import DeviceChoice
from runner.engine_pack.shelf import EnginePack
from runner.probes.base import GpuFindings
from updates.engine_pack.manifest import PackManifest
from updates.engine_pack.system import parse_dotted

_ORDER = ("cuda", "mps", "cpu")
"""A pack for a GPU computes on processors, too."""


@dataclass(frozen=True, slots=True)
class PackChoice:
    pack: EnginePack | None
    why: str
    """In words, why this one or none."""


NO_PACK = PackChoice(None, "")
_NONE: Mapping[str, int] = {}
_UNKNOWN: tuple[int, ...] = ()


def accelerator(wanted: DeviceChoice, findings: Sequence[GpuFindings]) -> str:
    """What this machine's torch should be built for: `cpu`, `cuda` or `mps`."""
    if wanted is not DeviceChoice.AUTO:
        return str(wanted.value)
    kinds = [found.kind for found in findings if found.gpus]
    return (kinds[0] if kinds else DeviceKind.CPU).value


def choose_pack(
    packs: Sequence[EnginePack],
    system: str,
    python: str,
    wanted: str,
    seqs: Mapping[str, int] = _NONE,
    os_version: tuple[int, ...] = _UNKNOWN,
) -> PackChoice:
    """The pack for this system and Python that serves the accelerator best; of equals the newest release, then torch.

    Args:
        system: `linux-x86_64`.
        python: `cp311`.
        wanted: what `accelerator` said.
        seqs: the release of each pack that came from one, by its SHA-256.
        os_version: to compare with the oldest system of each; empty: nobody knows, then any will do.
    """
    fitting = [pack for pack in packs if pack.manifest.system == system and pack.manifest.python == python]
    if not fitting:
        others = "; ".join(pack.manifest.label for pack in packs)
        return PackChoice(None, f"no engine pack for {system}, {python}" + (f", only {others}" if others else ""))
    if all(too_old(pack.manifest, os_version) for pack in fitting):
        label, os_min = fitting[0].manifest.label, fitting[0].manifest.os_min
        return PackChoice(None, f"{label} needs a system of {os_min} or later, this one is {dotted(os_version)}")
    fitting = [pack for pack in fitting if not too_old(pack.manifest, os_version)]
    order = (wanted, *(name for name in _ORDER if name != wanted))
    known = [pack for pack in fitting if pack.manifest.accelerator in order]
    if not known:
        return PackChoice(None, f"no engine pack for {wanted}, only {fitting[0].manifest.label}")

    def rank(pack: EnginePack) -> tuple[int, int, tuple[int, ...], str]:
        release = -seqs.get(pack.sha256, 0)
        return order.index(pack.manifest.accelerator), release, _newest_first(pack), pack.sha256

    best = min(known, key=rank)
    return PackChoice(best, best.manifest.label)


def too_old(manifest: PackManifest, os_version: tuple[int, ...]) -> bool:
    """Whether a system is older than the pack needs. Args: os_version: empty: nobody knows, then it is not."""
    return bool(os_version) and os_version < parse_dotted(manifest.os_min)


def dotted(os_version: tuple[int, ...]) -> str:
    return ".".join(map(str, os_version))


def _newest_first(pack: EnginePack) -> tuple[int, ...]:
    numbers = pack.manifest.version.split("+")[0].split(".")
    return tuple(-int(number) if number.isdecimal() else 0 for number in numbers)
