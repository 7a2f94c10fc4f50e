"""Which device jobs run on, and why, in words. Pure.

Promises: a device that the owner named is used or the worker says that it cannot work, never something else in silence;
where `auto` ends on the CPU, the reason names what a GPU lacked.
"""

from dataclasses import dataclass

from gogrid.protocol.messages import Device, DeviceKind
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
) -> Chosen:
    """Which device this worker lends.

    Args:
        findings: of every GPU probe, best vendor first.
        sandboxed: UUIDs of the NVIDIA GPUs that were seen to work in the sandbox; None: there is no sandbox to ask.
    """
    gpus = [gpu for found in findings for gpu in found.gpus]
    missing = "; ".join(found.problem for found in findings if found.problem)
    hindered = {gpu: _hindrance(gpu, engine, sandboxed) for gpu in gpus}
    able = [gpu for gpu in gpus if not hindered[gpu]]
    if wanted is DeviceChoice.CPU:
        return _on_cpu(
            cpu, max_ram, "CPU: chosen by its owner (worker.device = cpu)", _unused(gpus, max_vram, hindered)
        )
    if wanted is not DeviceChoice.AUTO:
        able = [gpu for gpu in able if gpu.kind.value == wanted.value]
    if able:
        best = max(able, key=lambda gpu: gpu.memory_bytes)
        return _on_gpu(
            best, wanted, cpu, max_ram, max_vram, _unused([g for g in gpus if g != best], max_vram, hindered)
        )
    if wanted is not DeviceChoice.AUTO:
        problem = f"worker.device = {wanted.value}, but {_lack(DeviceKind(wanted.value), findings, hindered)}"
        unused = _cpu_device(cpu, max_ram, f"not used: worker.device = {wanted.value}", usable=False)
        kind = DeviceKind(wanted.value)
        return Chosen(kind, (), 0, problem, (unused, *_unused(gpus, max_vram, hindered)), problem)
    reason = "; ".join(dict.fromkeys(word for word in hindered.values() if word)) or missing or "no GPU found"
    return _on_cpu(cpu, max_ram, f"CPU: {reason}", _unused(gpus, max_vram, hindered))


def _lack(kind: DeviceKind, findings: tuple[GpuFindings, ...], hindered: dict[Gpu, str]) -> str:
    """Why no GPU of the kind that the owner named can be used."""
    words = [word for gpu, word in hindered.items() if gpu.kind is kind and word]
    words += [found.problem for found in findings if found.kind is kind and found.problem]
    return words[0] if words else "there is no such GPU on this kind of computer"


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
    gpu: Gpu, wanted: DeviceChoice, cpu: Cpu, max_ram: Limit, max_vram: Limit, others: tuple[Device, ...]
) -> Chosen:
    why = f"{gpu.name}: " + ("the best GPU found" if wanted is DeviceChoice.AUTO else "chosen by its owner")
    cap = max_vram.of(gpu.memory_bytes)
    device = Device(kind=gpu.kind, name=gpu.name, memory_bytes=gpu.memory_bytes, cap_bytes=cap, why=why)
    host = _cpu_device(cpu, max_ram, "not used for models: there is a GPU", usable=False)
    return Chosen(gpu.kind, (gpu.uuid,) if gpu.uuid else (), cap, why, (device, host, *others))


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
