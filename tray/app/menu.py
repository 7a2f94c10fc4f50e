"""The menu and the tooltip as pure functions of what is shown.

Nothing in the menu changes by the second (throughput is in the tooltip): most desktops close an open menu that changes.
"""

from gogrid.protocol.worker_report import DeviceKind
from gogrid.sizes import format_size
from runner.control_messages import WorkerStatus
from tray.app.state import View
from tray.icon.messages import Action, Item, Kind
from tray.instance_messages import AppState, UpdateState

LONGEST_TOOLTIP = 127
"""Characters; Windows cuts there."""
_LONGEST_SENTENCE = 100
_LIMITS = ("25%", "50%", "75%", "90%")
_SEPARATOR = Item()


def tooltip(view: View) -> str:
    """`GoGrid: Working: smollm2 · 2 jobs · 85 tokens/s`."""
    parts = [f"GoGrid: {view.sentence}"]
    status = view.known.status
    if status is not None and view.state is AppState.WORKING:
        parts += [_count(len(status.jobs), "job")] * bool(status.jobs)
        parts += [f"{status.tokens_per_s:.0f} tokens/s"] * (status.tokens_per_s >= 1)
        parts += [format_size(status.memory_in_use)] * bool(status.memory_in_use)
    parts += _stay(view)
    return _cut(" · ".join(parts), LONGEST_TOOLTIP)


def menu(view: View) -> tuple[Item, ...]:
    sentences = (view.sentence, *_stay(view))
    said = (Item(label=_cut(sentence, _LONGEST_SENTENCE), enabled=False) for sentence in sentences)
    head = (*said, *_remedy(view), _SEPARATOR)
    status = view.known.status
    worker = (*_orders(status), *_settings(view), _SEPARATOR) if status is not None else ()
    return (
        *head,
        *worker,
        *_autostart(view.known.autostart),
        *_places(view),
        *_updates(view.known.update),
        _SEPARATOR,
        Item(label="Quit", action=Action(Kind.QUIT)),
    )


def _stay(view: View) -> tuple[str, ...]:
    """Where the settings' file is no good while the worker goes on."""
    trouble = view.known.status.settings_trouble if view.known.status is not None else ""
    return (f"settings stay as they were: {trouble}",) if trouble else ()


def _remedy(view: View) -> tuple[Item, ...]:
    """What helps where there is no runner."""
    if view.state is AppState.NOT_JOINED:
        return (Item(label="Join a coordinator…", action=_window("join"), enabled=view.known.window, default=True),)
    if view.state is AppState.TROUBLE and view.known.status is None:
        return (Item(label="Start the worker again", action=Action(Kind.START)),)
    return ()


def _orders(status: WorkerStatus) -> tuple[Item, ...]:
    resume = Item(label="Resume", action=Action(Kind.RESUME))
    pause = Item(
        label="Pause",
        items=(
            Item(label="1 hour", action=Action(Kind.PAUSE, "hour")),
            Item(label="Until tomorrow", action=Action(Kind.PAUSE, "tomorrow")),
            Item(label="Until I resume", action=Action(Kind.PAUSE, "resumed")),
        ),
    )
    finish = Item(label="Finish current job", action=Action(Kind.FINISH), enabled=status.order == "")
    return (resume, finish) if status.order == "pause" else (pause, *((resume,) * bool(status.order)), finish)


def _settings(view: View) -> tuple[Item, ...]:
    choices = view.known.choices
    return (
        *_limit(view),
        *_toggle("Pause while I use the computer", "worker.pause_on_activity", choices.pause_on_activity),
        *_toggle("Run on battery", "worker.run_on_battery", choices.run_on_battery),
    )


def _limit(view: View) -> tuple[Item, ...]:
    """Of the memory that models live in: the GPU's, or main memory where there is none to lend."""
    status, choices = view.known.status, view.known.choices
    used = [device for device in status.devices if device.usable] if status is not None else []
    on_cpu = bool(used) and used[0].kind is DeviceKind.CPU
    key, now = ("worker.max_ram", choices.max_ram) if on_cpu else ("worker.max_vram", choices.max_vram)
    if not now:
        return ()
    limits = [
        Item(
            label=limit.replace("%", " %"),
            action=Action(Kind.CHANGE, f"{key}={limit}"),
            checked=limit == now,
            radio=True,
        )
        for limit in _LIMITS
    ]
    own = now not in _LIMITS
    custom = Item(
        label=f"Custom ({now})…" if own else "Custom…",
        action=_window("settings"),
        checked=own,
        radio=True,
        enabled=view.known.window,
    )
    return (Item(label="Memory limit" if on_cpu else "VRAM limit", items=(*limits, custom)),)


def _toggle(label: str, setting: str, on: bool | None) -> tuple[Item, ...]:
    if on is None:
        return ()
    return (Item(label=label, action=Action(Kind.CHANGE, f"{setting}={'false' if on else 'true'}"), checked=on),)


def _autostart(on: bool | None) -> tuple[Item, ...]:
    if on is None:
        return ()
    action = Action(Kind.AUTOSTART, "off" if on else "on")
    return (Item(label="Start at login", action=action, checked=on), _SEPARATOR)


def _places(view: View) -> tuple[Item, ...]:
    dashboard = view.known.status.dashboard if view.known.status is not None else ""
    window = view.known.window
    return (
        Item(label="Open dashboard", action=Action(Kind.DASHBOARD, dashboard), enabled=bool(dashboard)),
        Item(label="Settings…", action=_window("settings"), enabled=window),
        Item(label="Statistics…", action=_window("statistics"), enabled=window),
        Item(label="View logs", action=_window("logs"), enabled=window),
    )


def _updates(update: UpdateState) -> tuple[Item, ...]:
    if update.state == "unsupported":
        return ()
    if update.state == "ready":
        return (Item(label="Restart to update", action=Action(Kind.APPLY_UPDATE)),)
    busy = update.state in ("checking", "downloading")
    return (Item(label="Check for updates", action=Action(Kind.CHECK_UPDATES), enabled=not busy),)


def _window(page: str) -> Action:
    return Action(Kind.WINDOW, page)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"
