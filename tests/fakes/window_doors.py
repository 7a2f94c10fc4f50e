"""What stands behind the window's page, as values: a worker with a GPU, an app, a week of work, and a name for all."""

import math
from dataclasses import dataclass, field
from typing import Literal

from gogrid.errors import GoGridError
from gogrid.jointoken import JoinToken
from gogrid.protocol.worker_report import Device, DeviceKind, Readiness
from runner.control_messages import (
    Answer,
    Ask,
    AskChange,
    AskPause,
    AskResume,
    AskSettings,
    AskStatistics,
    AskStatus,
    AskTest,
    Done,
    Refused,
    RunningJob,
    Sample,
    Settings,
    SettingShown,
    Statistics,
    TestShown,
    WorkerStatus,
)
from tray.control_client import NotRunningError
from tray.instance_messages import AppAnswer, AppAsk, AppState, AppStatus, AskApp, SetAutostart, UpdateState
from tray.window.bridge.calls import LogPiece
from tray.window.bridge.doors import Doors, JoinedAs

GB = 10**9
END = 1_790_000_000 // 604_800 * 604_800.0


@dataclass
class FakeWorker:
    """Implements `doors.Worker`; `name` is whatever somebody else may call things."""

    name: str = "studio"
    runs: bool = True
    order: Literal["", "pause", "finish"] = ""
    gates: tuple[str, ...] = ()
    wrong: str = ""
    """With its settings' file."""
    unkept: str = ""
    """What it says of a pause that it cannot keep."""
    memory_in_use: int = 11 * GB
    settings: dict[str, str] = field(default_factory=lambda: dict(SETTINGS))
    asked: list[Ask] = field(default_factory=list)

    def ask(self, question: Ask) -> Answer:
        self.asked.append(question)
        if not self.runs:
            raise NotRunningError("No worker is running here.")
        match question:
            case AskStatus():
                return self.status
            case AskSettings() | AskChange() if self.wrong:
                return Refused(reason=self.wrong)
            case AskPause():
                self.order = "finish" if question.finish else "pause"
                return Done(note=self.unkept)
            case AskResume():
                self.order = ""
            case AskSettings():
                return shown(self.settings)
            case AskStatistics():
                return statistics(question.span)
            case AskTest():
                return TestShown(state="done", model=self.name, question="?", answer=self.name, tokens=3, seconds=0.4)
            case AskChange():
                if question.setting not in self.settings:
                    return Refused(reason=f"There is no setting {question.setting}.")
                self.settings[question.setting] = question.value
        return Done()

    @property
    def status(self) -> WorkerStatus:
        gpu = Device(
            kind=DeviceKind.CUDA, name="NVIDIA RTX 4090", memory_bytes=24 * GB, cap_bytes=19 * GB, why="largest"
        )
        cpu = Device(kind=DeviceKind.CPU, name="16 cores", memory_bytes=64 * GB, cap_bytes=0, why="", usable=False)
        return WorkerStatus(
            software="gogrid/0.1.0", worker=self.name,
            readiness=Readiness.PAUSED if self.order or self.gates else Readiness.READY,
            reason="; ".join(self.gates) or self.name, order=self.order,
            coordinator=self.name, connected=True, connection="since 09:12", device="", devices=(gpu, cpu),
            sandbox="bubblewrap",
            python_jobs=True, jobs=(RunningJob(job_id="job_1", kind="chat", model=self.name, seconds=3.0),), models=(),
            jobs_done=4, jobs_failed=0, pid=1, tokens_per_s=182.4, memory_in_use=self.memory_in_use,
        )  # fmt: skip


@dataclass
class FakeApp:
    """Implements `doors.App`."""

    sentence: str = "Working on 2 requests for llama-3.1-8b"
    there: bool = True
    state: AppState = AppState.WORKING
    update: UpdateState | None = None
    """None: a newer version is ready."""
    asked: list[AppAsk] = field(default_factory=list)

    def ask(self, question: AppAsk) -> AppAnswer:
        self.asked.append(question)
        if not self.there:
            raise NotRunningError("No GoGrid app is running here.")
        if isinstance(question, AskApp):
            update = self.update or UpdateState(state="ready", version="0.2.0", sentence=self.sentence)
            return AppStatus(
                state=self.state, sentence=self.sentence, runner=None, update=update, autostart=True, icon=True, pid=1
            )
        if isinstance(question, SetAutostart):
            return Refused(reason="There is no systemd of this user here.")
        return Done()


@dataclass
class FakeErrands:
    """Implements `doors.Errands`."""

    name: str = "studio grid"
    known: bool = True
    tokens: list[str] = field(default_factory=list)
    changed: list[tuple[str, str]] = field(default_factory=list)

    def join(self, token: str, name: str) -> JoinedAs:
        self.tokens.append(token)
        return JoinedAs(self.name, self.name, name or self.name, False)

    def joined(self) -> bool:
        return self.known

    def coordinator_name(self, token: JoinToken) -> str:
        if not self.name:
            raise GoGridError("Nobody answers there.")
        return self.name

    def settings(self) -> Settings:
        return shown(SETTINGS)

    def change(self, setting: str, value: str) -> str:
        self.changed.append((setting, value))
        return "It counts when the worker starts."

    def open_folder(self, which: str) -> None:
        return


@dataclass
class FakeLogs:
    """Implements `doors.Logs`."""

    text: str = "".join(f"2026-11-22 09:{n:02}:00,123 INFO runner.work: job_{n} done\n" for n in range(40))

    def read(self, file: str, after: int) -> LogPiece:
        new = self.text if after < 0 else ""
        return LogPiece(
            files=("worker.log", "tray.log"), file=file or "worker.log", text=new, next=len(self.text), anew=False
        )


SETTINGS = {
    "worker.max_vram": "80%",
    "worker.max_vram_gb": "",
    "worker.max_ram": "50%",
    "worker.device": "auto",
    "worker.gpu": "",
    "worker.disk_cap": "100GB",
    "worker.pause_on_activity": "true",
    "worker.activity_idle": "3m",
    "worker.run_on_battery": "false",
    "worker.pause_on_fullscreen": "true",
    "worker.exclusive_apps": "blender, steam",
    "worker.max_other_load": "50%",
    "worker.max_temperature": "0",
    "worker.schedule": "mon-fri 18:00-08:00; sat,sun 00:00-24:00",
    "worker.notifications": "trouble",
    "updates.enabled": "true",
    "coordinator.host": "10.0.0.5",
    "coordinator.port": "8443",
    "worker.cpu_cores": "0",
}


def shown(settings: dict[str, str]) -> Settings:
    return Settings(
        file="/home/ada/.config/gogrid-worker/config.toml",
        settings=tuple(
            SettingShown(
                key=key, value=value, help="", live=not key.startswith("coordinator"), env="GOGRID_X",
                origin="GOGRID_X" if key == "worker.notifications" else "default" if not value else "the file",
            )
            for key, value in settings.items()
        ),
    )  # fmt: skip


def statistics(span: str) -> Statistics:
    step_s, count = {"hour": (60, 60), "day": (900, 96), "week": (3600, 168)}[span]
    wave = [max(0.0, math.sin(n * 6.3 * 3 / count)) for n in range(count)]
    samples = tuple(
        Sample(
            at=END - (count - 1 - n) * step_s, jobs_done=round(9 * high),
            jobs_failed=int(n % 29 == 28), tokens=round(high * 180 * step_s), cpu=0.02 + 0.2 * high,
            gpu=0.95 * high if high else None, memory=round(11 * GB * (high > 0)),
        )
        for n, high in enumerate(wave)
    )  # fmt: skip
    return Statistics(
        step_s=step_s, samples=samples, jobs_done=sum(s.jobs_done for s in samples),
        jobs_failed=sum(s.jobs_failed for s in samples), tokens=sum(s.tokens for s in samples),
    )  # fmt: skip


def doors(
    worker: FakeWorker | None = None,
    app: FakeApp | None = None,
    errands: FakeErrands | None = None,
    logs: FakeLogs | None = None,
) -> Doors:
    return Doors(
        worker=worker or FakeWorker(), app=app or FakeApp(), errands=errands or FakeErrands(), logs=logs or FakeLogs(),
        config="/home/ada/.config/gogrid-worker/config.toml", logs_folder="/home/ada/logs",
    )  # fmt: skip
