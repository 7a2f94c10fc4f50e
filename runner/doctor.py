"""`doctor`: what works on this machine and what does not, each in one line that says what to do.

Proves instead of guessing: the sandbox runs its self-test, the coordinator is reached over UDP and over TCP apart
(`doctor_coordinator.py`). What can be looked at at the same time is; the whole takes three seconds at most, also where
nobody answers.
"""

import asyncio
import os
import shutil
import time
from dataclasses import replace

from gogrid.errors import GoGridError
from gogrid.identity import short_pin
from gogrid.place_options import this_user
from gogrid.places import WorkerPlaces
from gogrid.sizes import format_size
from runner.config import WorkerConfig
from runner.doctor_coordinator import Check, look
from runner.engine_pack.publisher import publisher_folder
from runner.errors import SandboxUnavailableError
from runner.gates.probes.base import NoAnswerError
from runner.gates.probes.choose import find_eyes
from runner.link.membership import addresses_of, load_membership
from runner.models.disk import ModelDisk
from runner.models.eviction import disk_use
from runner.probes.all import Machine, engine_words, probe_machine
from runner.probes.choose import choose_device
from runner.sandbox.base import SandboxReport
from runner.sandbox.choose import choose_launcher
from runner.sandbox.interpreter import running_interpreter
from runner.threads import in_thread

_LEAST_DISK = 2 * 10**9
_COMES = "; a running worker fetches it from its coordinator"
_ADVICE = "; install an engine pack (gogrid-worker engine install FILE), or from source: pip install 'gogrid[engine]'"


async def examine(config: WorkerConfig, places: WorkerPlaces, trouble: str) -> tuple[Check, ...]:
    """Every check, in the order in which they build on each other.

    Args:
        trouble: what is wrong with the settings, so that `config` is without them; empty: nothing.
    """
    machine, coordinator, activity = await asyncio.gather(
        _machine(config, places),
        _coordinator(config, places),
        in_thread(lambda _stop: _activity(config), "activity check"),
    )
    return (_settings(places, trouble), *machine, _disk(config, places), *_models(places), activity, *coordinator)


def _settings(places: WorkerPlaces, trouble: str) -> Check:
    if trouble:
        return Check("settings", False, f"{trouble.rstrip('.')}; everything below is looked at without it")
    return Check("settings", True, f"{places.config}{'' if places.config.exists() else ' (absent: defaults)'}")


async def _machine(config: WorkerConfig, places: WorkerPlaces) -> list[Check]:
    machine = await in_thread(lambda _stop: probe_machine(places.engines, config.device), "device check")
    sandbox, found = await _sandbox(machine)
    engine = Check("engine", machine.engine.torch, engine_words(machine) + _advice(config, machine))
    return [*found, engine, _device(config, machine, sandbox), *_drivers(machine)]


def _advice(config: WorkerConfig, machine: Machine) -> str:
    if machine.engine.torch:
        return ""
    if publisher_folder() is None:
        return _ADVICE
    return _COMES if config.updates_enabled else f"; none is fetched, because updates.enabled is false{_ADVICE}"


async def _sandbox(machine: Machine) -> tuple[SandboxReport | None, list[Check]]:
    try:
        report = (await choose_launcher(python=running_interpreter(machine.site), gpus=machine.nvidia)).report
    except SandboxUnavailableError as error:
        return None, [Check("sandbox", False, str(error))]
    found = [Check("sandbox", True, f"{report.name}; proved: {', '.join(report.layers)}")]
    if report.missing:
        found.append(Check("sandbox limits", report.python_jobs, f"cannot enforce: {', '.join(report.missing)}"))
    found += [Check("sandbox skipped", True, reason) for reason in report.skipped]
    return report, found


def _device(config: WorkerConfig, machine: Machine, sandbox: SandboxReport | None) -> Check:
    chosen = choose_device(
        config.device,
        machine.cpu,
        machine.findings,
        machine.engine,
        config.max_vram,
        config.max_ram,
        sandbox.gpus if sandbox is not None else None,
        config.gpu,
    )
    if chosen.problem:
        return Check("device", False, chosen.problem)
    return Check("device", True, f"{chosen.why}; lends {format_size(chosen.cap_bytes)}")


def _drivers(machine: Machine) -> list[Check]:
    """Each GPU by its number, as `worker.gpu` names it; without one, why there is none."""
    gpus = [gpu for found in machine.findings for gpu in found.gpus]
    if not gpus:
        reason = "; ".join(found.problem for found in machine.findings if found.problem)
        return [Check("GPU", True, f"none: {reason}")]
    driver = next((found.driver for found in machine.findings if found.driver), "")
    words = f", driver {driver}" if driver else ""
    return [
        Check(
            "GPU",
            True,
            f"{at}: {gpu.name}, {format_size(gpu.memory_bytes)}, {format_size(gpu.used_bytes)} in use{words}",
        )
        for at, gpu in enumerate(gpus)
    ]


def _disk(config: WorkerConfig, places: WorkerPlaces) -> Check:
    folder = next(path for path in (places.models, *places.models.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    words = f"{format_size(free)} free in {folder}; the model cache may hold {format_size(config.disk_cap)}"
    enough = free >= _LEAST_DISK
    return Check("disk", enough, words if enough else f"{words}; free some, or: gogrid-worker models prune --yes")


def _models(places: WorkerPlaces) -> list[Check]:
    disk = ModelDisk(places.models)
    models = disk.models(frozenset()) if (places.models / "views").is_dir() else ()
    if not models:
        return [Check("models", True, "none on disk yet; they are fetched when they are asked for")]
    manifests = {model.digest: disk.manifest(model.digest) for model in models}
    damaged = [digest for digest, one in manifests.items() if one is None or not disk.complete(digest, one)]
    words = f"{len(models)} on disk, {format_size(disk_use(models))}"
    if damaged:
        words += f"; damaged, and fetched again when asked for: {', '.join(digest[:12] for digest in damaged)}"
    return [Check("models", True, words)]


def _activity(config: WorkerConfig) -> Check:
    """Whether the gates can see what they have to look at. Blocks."""
    if not config.gates.pause_on_activity:
        return Check("activity", True, "not looked at, as its owner wants it (worker.pause_on_activity)")
    eyes = find_eyes(os.environ, this_user(), (), time.monotonic)
    try:
        idle_s = eyes.owner()
        eyes.machine(replace(config.gates, max_other_load=1.0))
    except NoAnswerError as error:
        return Check("activity", False, f"whether the computer is in use cannot be seen: {error}")
    finally:
        eyes.close()
    seen = "no input can be seen" if idle_s is None else f"last input {idle_s:.0f} s ago"
    display = bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return Check("activity", idle_s is not None or not display, "; cannot see ".join((seen, *eyes.unseen[:1])))


async def _coordinator(config: WorkerConfig, places: WorkerPlaces) -> tuple[Check, ...]:
    try:
        membership = load_membership(places.state)
    except GoGridError as error:
        return (Check("coordinator", False, str(error)),)
    if membership is None:
        return (Check("coordinator", False, "not joined; paste a token: gogrid-worker join TOKEN"),)
    pin = short_pin(membership.pin)
    words = f"{membership.coordinator_name}, pin {pin}, as {membership.worker_name}"
    return (Check("coordinator", True, words), *await look(addresses_of(config, membership), membership))
