"""The menu and the tooltip, word by word, for everything a worker can be in."""

from collections.abc import Sequence

import pytest

from gogrid.protocol.worker_report import Device, DeviceKind, Readiness
from runner.control_messages import RunningJob, WorkerStatus
from tray.app.menu import menu, tooltip
from tray.app.state import Choices, Known, Looker, View
from tray.icon.messages import Action, Item, Kind
from tray.instance_messages import AppState, UpdateState
from tray.supervision.restart import Life, Phase

CHOICES = Choices(max_vram="50%", pause_on_activity=True, run_on_battery=False)
GPU = Device(kind=DeviceKind.CUDA, name="RTX 4090", memory_bytes=24 << 30, cap_bytes=12 << 30, why="", usable=True)
CPU = Device(kind=DeviceKind.CPU, name="8 cores", memory_bytes=32 << 30, cap_bytes=16 << 30, why="", usable=True)


def status(readiness: Readiness = Readiness.READY, reason: str = "ready", **more: object) -> WorkerStatus:
    known: dict[str, object] = {
        "software": "0.1.0", "worker": "box", "readiness": readiness, "reason": reason, "coordinator": "hub:8443",
        "connected": True, "connection": "connected since 12:00", "device": "CPU", "devices": (GPU,),
        "sandbox": "bwrap", "python_jobs": True, "jobs": (), "models": (), "jobs_done": 0, "jobs_failed": 0, "pid": 7,
        "dashboard": "https://hub:8443",
    }  # fmt: skip
    return WorkerStatus(**{**known, **more})  # type: ignore[arg-type]


def job(model: str = "smollm2", kind: str = "chat") -> RunningJob:
    return RunningJob(job_id="j", kind=kind, model=model, seconds=1.0)


def view(known: Known) -> View:
    return Looker().view(known, 0.0)


def drawn(items: Sequence[Item], indent: str = "") -> str:
    """As a person sees it: `✓`/`·` checked or not, `(…)` cannot be clicked, `▸` opens."""
    lines = []
    for item in items:
        mark = "" if item.checked is None else "✓ " if item.checked else "· "
        text = f"{mark}{item.label}" if item.label else "---"
        lines.append(indent + (text if item.enabled else f"({text})") + (" ▸" if item.items else ""))
        lines += [drawn(item.items, indent + "  ")] * bool(item.items)
    return "\n".join(lines)


READY_MENU = """\
(Ready for work)
---
Pause ▸
  1 hour
  Until tomorrow
  Until I resume
Finish current job
VRAM limit ▸
  · 25 %
  ✓ 50 %
  · 75 %
  · 90 %
  · Custom…
✓ Pause while I use the computer
· Run on battery
---
✓ Start at login
---
Open dashboard
Settings…
Statistics…
View logs
---
Quit"""


def test_the_whole_menu_of_a_ready_worker() -> None:
    assert drawn(menu(view(Known(status=status(), choices=CHOICES, autostart=True)))) == READY_MENU


def test_a_worker_that_its_owner_paused_offers_to_resume() -> None:
    paused = status(Readiness.PAUSED, "paused by its owner", order="pause", holds=("paused by its owner",))
    shown = drawn(menu(view(Known(status=paused, choices=CHOICES)))).splitlines()
    assert shown[:4] == ["(Paused by its owner)", "---", "Resume", "(Finish current job)"]


def test_a_worker_that_stands_back_by_itself_can_be_paused_but_not_resumed() -> None:
    held = status(Readiness.PAUSED, "computer is in use", holds=("computer is in use", "on battery"))
    shown = drawn(menu(view(Known(status=held, choices=CHOICES))))
    assert shown.startswith("(Paused: computer is in use; on battery)\n---\nPause ▸\n")
    assert "Resume" not in shown.replace("Until I resume", "")


def test_a_worker_that_finishes_can_be_paused_at_once_or_resumed() -> None:
    held = status(Readiness.PAUSED, "taking nothing new, as its owner asked", order="finish", jobs=(job(),))
    shown = drawn(menu(view(Known(status=held, choices=CHOICES)))).splitlines()
    assert shown[0] == "(Finishing: taking nothing new, as its owner asked)"
    assert shown[2:8] == [
        "Pause ▸",
        "  1 hour",
        "  Until tomorrow",
        "  Until I resume",
        "Resume",
        "(Finish current job)",
    ]


def test_who_has_joined_nobody_is_offered_to_join_and_nothing_that_needs_a_worker() -> None:
    known = Known(life=Life(Phase.NOT_JOINED, "not joined to a coordinator yet"), choices=CHOICES, autostart=False)
    assert drawn(menu(view(known))) == (
        "(Not joined to a coordinator yet)\nJoin a coordinator…\n---\n· Start at login\n---\n"
        "(Open dashboard)\nSettings…\nStatistics…\nView logs\n---\nQuit"
    )


def test_a_worker_that_was_given_up_says_why_and_can_be_started_again() -> None:
    known = Known(life=Life(Phase.GIVEN_UP, "the worker crashed 6 times in a row", crashed=True))
    shown = drawn(menu(view(known))).splitlines()
    assert shown[:2] == ["(The worker crashed 6 times in a row)", "Start the worker again"]


def test_without_a_desktop_for_the_window_what_opens_it_cannot_be_clicked() -> None:
    shown = drawn(menu(view(Known(status=status(), choices=CHOICES, window=False))))
    assert "(Settings…)\n(Statistics…)\n(View logs)" in shown


def test_a_limit_of_ones_own_is_shown_and_edited_in_the_window() -> None:
    choices = Choices(max_vram="6GB")
    limit = next(i for i in menu(view(Known(status=status(), choices=choices))) if i.label == "VRAM limit")
    assert drawn(limit.items).splitlines()[-1] == "✓ Custom (6GB)…"
    assert limit.items[-1].action == Action(Kind.WINDOW, "settings")


def test_a_machine_without_a_gpu_to_lend_limits_main_memory() -> None:
    known = Known(status=status(devices=(CPU,)), choices=Choices(max_vram="50%", max_ram="75%"))
    limit = next(item for item in menu(view(known)) if item.label == "Memory limit")
    assert drawn(limit.items) == "· 25 %\n· 50 %\n✓ 75 %\n· 90 %\n· Custom…"
    assert limit.items[0].action == Action(Kind.CHANGE, "worker.max_ram=25%")
    assert "VRAM" not in drawn(menu(view(known)))


@pytest.mark.parametrize(
    ("update", "line"),
    [
        (UpdateState(), None),
        (UpdateState(state="current"), "Check for updates"),
        (UpdateState(state="downloading", version="0.2.0"), "(Check for updates)"),
        (UpdateState(state="ready", version="0.2.0"), "Restart to update"),
    ],
)
def test_updates_are_offered_only_where_there_is_an_updater(update: UpdateState, line: str | None) -> None:
    shown = drawn(menu(view(Known(status=status(), update=update)))).splitlines()
    assert ("update" in "\n".join(shown)) is (line is not None)
    assert line is None or shown[shown.index("View logs") + 1] == line


def test_every_line_that_can_be_clicked_does_something() -> None:
    def walk(items: Sequence[Item]) -> None:
        for item in items:
            assert item.action is not None or item.items or not item.label or not item.enabled, item
            walk(item.items)

    walk(menu(view(Known(status=status(), choices=CHOICES, autostart=True, update=UpdateState(state="ready")))))


def test_toggles_ask_for_the_opposite_of_what_they_show() -> None:
    items = {item.label: item.action for item in menu(view(Known(status=status(), choices=CHOICES, autostart=True)))}
    assert items["Pause while I use the computer"] == Action(Kind.CHANGE, "worker.pause_on_activity=false")
    assert items["Run on battery"] == Action(Kind.CHANGE, "worker.run_on_battery=true")
    assert items["Start at login"] == Action(Kind.AUTOSTART, "off")


def test_the_tooltip_tells_reason_and_throughput() -> None:
    working = status(jobs=(job(), job()), tokens_per_s=84.6, memory_in_use=1_500_000_000)
    assert tooltip(view(Known(status=working))) == "GoGrid: Working: smollm2 · 2 jobs · 85 tokens/s · 1.5 GB"
    assert tooltip(view(Known(status=status(Readiness.PAUSED, "on battery")))) == "GoGrid: Paused: on battery"
    assert tooltip(view(Known(status=status()))) == "GoGrid: Ready for work"


def test_throughput_alone_never_changes_the_menu_which_would_close_an_open_one() -> None:
    slow = status(jobs=(job(),), tokens_per_s=10.0, memory_in_use=10**9)
    fast = status(jobs=(job(), job()), tokens_per_s=99.0, memory_in_use=2 * 10**9)
    assert menu(view(Known(status=slow))) == menu(view(Known(status=fast)))


def test_no_sentence_makes_the_menu_or_the_tooltip_too_long() -> None:
    unable = view(Known(status=status(Readiness.UNABLE, "no sandbox works: " + "x" * 500)))
    assert unable.state is AppState.TROUBLE
    assert len(tooltip(unable)) <= 127
    assert len(menu(unable)[0].label) <= 100
