"""Which device jobs run on, and why, in words. Pure.

Promises: a device that the owner named is used or the worker says that it cannot work, never something else in silence;
where `auto` ends on the CPU, the reason names what a GPU lacked.
"""

from dataclasses import dataclass

from gogrid.protocol.worker_report import Device, DeviceKind
from runner.config import DeviceChoice
from runner.limits import Limit
from runner.probes.base import Cpu, EngineBuild, Gpu, GpuFindings


@dataclass(frozen=True, slots=True)
class Chosen:
    """The answer for one machine."""

    kind: DeviceKind
    gpus: tuple[str, ...]
    """UUIDs to make visible inside the sandbox."""
    cap_bytes: int
    why: str
    devices: tuple[Device, ...]
    """Everything found, for the report; only the chosen one is `usable`."""
    problem: str = ""
    """In words, why the worker cannot work at all; empty: it can."""


def choose_device(
    wanted: DeviceChoice,
    cpu: Cpu,
    findings: tuple[GpuFindings, ...],
    engine: EngineBuild,
    max_vram: Limit,
    max_ram: Limit,
    sandboxed: tuple[str, ...] | None = None,
    gpu: str = "",
) -> Chosen:
    """Which device this worker lends.

    Args:
        findings: of every GPU probe, best vendor first.
        sandboxed: UUIDs of the NVIDIA GPUs that were seen to work in the sandbox; None: there is no sandbox to ask.
        gpu: the number among those found, UUID or name of the one that its owner lends; empty: the best.
    """
    gpus = [one for found in findings for one in found.gpus]
    missing = "; ".join(found.problem for found in findings if found.problem)
    hindered = {one: _hindrance(one, engine, sandboxed) for one in gpus}
    unused = _unused(gpus, max_vram, hindered)
    if wanted is DeviceChoice.CPU:
        return _on_cpu(cpu, max_ram, "CPU: chosen by its owner (worker.device = cpu)", unused)
    named = [one for at, one in enumerate(gpus) if not gpu or _is_named(gpu, at, one)]
    of_kind = [one for one in named if wanted is DeviceChoice.AUTO or one.kind.value == wanted.value]
    able = [one for one in of_kind if not hindered[one]]
    if able:
        best = max(able, key=lambda one: one.memory_bytes)
        others = _unused([one for one in gpus if one != best], max_vram, hindered)
        by_owner = wanted is not DeviceChoice.AUTO or bool(gpu)
        return _on_gpu(best, cpu, max_ram, max_vram, others, by_owner=by_owner)
    if gpu:
        lack = _lack_of(named, gpus, hindered, missing)
        return _on_nothing(DeviceKind.CPU, f"worker.gpu = {gpu}", lack, cpu, max_ram, unused)
    if wanted is not DeviceChoice.AUTO:
        kind = DeviceKind(wanted.value)
        lack = _lack(kind, findings, hindered)
        return _on_nothing(kind, f"worker.device = {wanted.value}", lack, cpu, max_ram, unused)
    reason = "; ".join(dict.fromkeys(word for word in hindered.values() if word)) or missing or "no GPU found"
    return _on_cpu(cpu, max_ram, f"CPU: {reason}", unused)


def _lack(kind: DeviceKind, findings: tuple[GpuFindings, ...], hindered: dict[Gpu, str]) -> str:
    """Why no GPU of the kind that the owner named can be used."""
    words = [word for gpu, word in hindered.items() if gpu.kind is kind and word]
    words += [found.problem for found in findings if found.kind is kind and found.problem]
    return words[0] if words else "there is no such GPU on this kind of computer"


def _is_named(word: str, at: int, gpu: Gpu) -> bool:
    """A number is the GPU's place among those found; of a UUID the beginning is enough, of a name any part."""
    if word.isdecimal():
        return int(word) == at
    folded = word.casefold()
    if folded.startswith("gpu-"):
        return gpu.uuid.casefold().startswith(folded)
    return folded in gpu.name.casefold()


def _lack_of(named: list[Gpu], gpus: list[Gpu], hindered: dict[Gpu, str], missing: str) -> str:
    """Why the GPU that the owner named cannot be used."""
    if named:
        return hindered[named[0]] or f"{named[0].name} is not of the kind that worker.device names"
    there = ", ".join(f"{at}: {gpu.name}" for at, gpu in enumerate(gpus))
    return f"there is no such GPU; there are {there}" if there else missing or "no GPU was found"


def _hindrance(gpu: Gpu, engine: EngineBuild, sandboxed: tuple[str, ...] | None) -> str:
    if gpu.kind is DeviceKind.CUDA and engine.torch and not engine.cuda:
        return f"{gpu.name} cannot be used: the installed torch is built for CPUs only"
    if gpu.kind is DeviceKind.CUDA and sandboxed is not None and gpu.uuid not in sandboxed:
        return f"{gpu.name} cannot be used: it does not work in this machine's sandbox"
    return ""


def _on_cpu(cpu: Cpu, max_ram: Limit, why: str, others: tuple[Device, ...]) -> Chosen:
    device = _cpu_device(cpu, max_ram, why, usable=True)
    return Chosen(DeviceKind.CPU, (), device.cap_bytes, why, (device, *others))


def _on_gpu(
    gpu: Gpu, cpu: Cpu, max_ram: Limit, max_vram: Limit, others: tuple[Device, ...], *, by_owner: bool
) -> Chosen:
    why = f"{gpu.name}: " + ("chosen by its owner" if by_owner else "the best GPU found")
    cap = max_vram.of(gpu.memory_bytes)
    device = Device(kind=gpu.kind, name=gpu.name, memory_bytes=gpu.memory_bytes, cap_bytes=cap, why=why)
    host = _cpu_device(cpu, max_ram, "not used for models: there is a GPU", usable=False)
    return Chosen(gpu.kind, (gpu.uuid,) if gpu.uuid else (), cap, why, (device, host, *others))


def _on_nothing(
    kind: DeviceKind, setting: str, lack: str, cpu: Cpu, max_ram: Limit, others: tuple[Device, ...]
) -> Chosen:
    """What the owner named cannot be used, so nothing is used in its place."""
    problem = f"{setting}, but {lack}"
    host = _cpu_device(cpu, max_ram, f"not used: {setting}", usable=False)
    return Chosen(kind, (), 0, problem, (host, *others), problem)


def _cpu_device(cpu: Cpu, max_ram: Limit, why: str, *, usable: bool) -> Device:
    return Device(
        kind=DeviceKind.CPU,
        name=f"{cpu.name}, {cpu.cores} {'core' if cpu.cores == 1 else 'cores'}",
        memory_bytes=cpu.memory_bytes,
        cap_bytes=max_ram.of(cpu.memory_bytes),
        why=why,
        usable=usable,
    )


def _unused(gpus: list[Gpu], max_vram: Limit, hindered: dict[Gpu, str]) -> tuple[Device, ...]:
    return tuple(
        Device(
            kind=gpu.kind,
            name=gpu.name,
            memory_bytes=gpu.memory_bytes,
            cap_bytes=max_vram.of(gpu.memory_bytes),
            why=hindered[gpu] or "not used: another device was chosen",
            usable=False,
        )
        for gpu in gpus
    )
