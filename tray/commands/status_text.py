"""A worker's status as a person reads it. Pure, but for the local time zone."""

import re

from gogrid.moments import shown_moment
from gogrid.protocol.worker_report import Readiness
from gogrid.sizes import format_size
from runner.control_messages import ModelState, WorkerStatus
from tray.app.state import why_not

_LIMIT = re.compile(r"((other programs (?:used|held)|the .+ reached) [^()]* \([^()]* allowed)\)")


def status_text(status: WorkerStatus) -> str:
    pace = f", {status.tokens_per_s:.0f} tokens/s" if status.tokens_per_s >= 1 else ""
    lines = [
        f"Worker       {status.worker or '(not connected yet)'}, {status.software}",
        f"State        {_state(status)}",
        *(f"             also: {_held(status, hold)}" for hold in status.holds if hold != status.reason),
        f"Coordinator  {status.coordinator}{'' if _says_why_not(status) else f', {status.connection}'}",
        *((f"Settings     stay as they were: {status.settings_trouble}",) if status.settings_trouble else ()),
        f"Device       {status.device}",
        *((f"Engine       {status.engine}",) if status.engine else ()),
        f"Sandbox      {status.sandbox}",
        f"Jobs         {len(status.jobs)} running, {status.jobs_done} done, {status.jobs_failed} failed{pace}",
    ]
    for job in status.jobs:
        lines.append(f"             {job.kind} {job.model or 'script'} for {job.seconds:.0f} s ({job.job_id})")
    lines += [f"{'Models' if not at else '':13}{_model(model)}" for at, model in enumerate(status.models)]
    if not status.models:
        lines.append("Models       none yet")
    if status.memory_in_use:
        lines.append(f"Memory       {format_size(status.memory_in_use)} held by models")
    return "\n".join(lines)


def standing(status: WorkerStatus) -> str:
    """In one line: whether it works now, and every reason why not."""
    others = (f"; also: {_held(status, hold)}" for hold in status.holds if hold != status.reason)
    return "".join((_state(status), *others))


def _state(status: WorkerStatus) -> str:
    """Ready is who gets work: not while the coordinator is away."""
    if _says_why_not(status):
        return f"not connected: {why_not(status)}"
    reason = "" if status.reason == status.readiness.value else f": {_held(status, status.reason)}"
    return f"{status.readiness.value}{reason}"


def _held(status: WorkerStatus, reason: str) -> str:
    """With its end, where it is the owner's pause: that is the first of all."""
    if not status.paused_until or status.holds[:1] != (reason,):
        return _LIMIT.sub(_with_setting, reason)
    return f"{reason} until {shown_moment(status.paused_until, '%Y-%m-%d %H:%M')}"


def _with_setting(found: re.Match[str]) -> str:
    """A gate's limit, and how its owner would change it."""
    setting = "max_temperature" if found[2].startswith("the ") else "max_other_load"
    return f"{found[1]}; the setting is {setting})"


def _says_why_not(status: WorkerStatus) -> bool:
    """Whether the state is that it is not connected, and why."""
    return status.readiness is Readiness.READY and not status.connected


def _model(model: ModelState) -> str:
    name = model.name or model.digest[:12]
    if model.state == "downloading":
        return f"{name}: downloading, {model.fraction:.0%}"
    if model.state == "loaded":
        return f"{name}: loaded, {format_size(model.memory_bytes)}, {model.running} running"
    return f"{name}: {model.state}"
