"""The gates' eyes with what they look at played by the test: compositor, gamepad, GPU driver, programs of our own."""

import os
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.gates.probes.base import LostError, NoAnswerError
from runner.gates.probes.choose import linux_desktops, linux_screens, session_bus, wayland_socket
from runner.gates.probes.eyes import Eyes, FirstThatWorks
from runner.gates.probes.gamepads import Gamepads
from runner.gates.probes.machine import on_battery, temperatures
from runner.gates.probes.processor import ProcessorLoad
from runner.gates.probes.programs import Programs
from runner.gates.probes.wayland import Wayland
from runner.gates.settings import GateSettings
from runner.probes.nvidia_load import GpuLoad, NvidiaLoad
from runner.probes.process_memory import process_memory
from tests.fakes.fake_nvml import MIB, FakeGpu, FakeNvml, FakeNvmlError
from tests.fakes.wayland_compositor import OFFERED, Compositor

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="looks at Linux's own files")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


# --- Wayland ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def compositor(tmp_path: Path) -> Iterator[Compositor]:
    with Compositor(tmp_path / "wayland-0") as made:
        yield made


def heard(desktop: Wayland, wanted: float) -> bool:
    end = time.monotonic() + 5
    while time.monotonic() < end:
        if desktop.idle_s() == wanted:
            return True
        time.sleep(0.005)
    return False


def test_a_wayland_compositor_tells_when_its_seat_is_idle(compositor: Compositor) -> None:
    clock = Clock()
    desktop = Wayland(compositor.path, clock)
    assert compositor.ready.wait(5)
    ((notification, (timeout_ms, _)),) = compositor.timeouts.items()
    assert timeout_ms == 1000
    assert desktop.idle_s() == 0.0
    compositor.send(notification, 0)
    assert heard(desktop, 1.0)  # idled: the last input was a second ago
    clock.now += 59
    assert desktop.idle_s() == 60.0
    compositor.send(99, 7, b"\0" * 12)  # an event that nobody asked for
    compositor.send(notification, 1)
    assert heard(desktop, 0.0)
    desktop.close()


@pytest.mark.parametrize("without", ["ext_idle_notifier_v1", "wl_seat"])
def test_a_compositor_that_tells_nothing_is_no_desktop(tmp_path: Path, without: str) -> None:
    offered = tuple(each for each in OFFERED if each[1] != without)
    with Compositor(tmp_path / "wayland-0", offered) as compositor, pytest.raises(LostError, match="ext-idle-notify"):
        Wayland(compositor.path)


@pytest.mark.parametrize("how", ["hangs up", "breaks the protocol", "refuses"])
def test_a_compositor_that_is_lost_is_an_error_and_no_end(compositor: Compositor, how: str) -> None:
    desktop = Wayland(compositor.path)
    assert compositor.ready.wait(5)
    match how:
        case "hangs up":
            compositor.hang_up()
        case "breaks the protocol":
            compositor.raw(struct.pack("=II", 5, 4 << 16))
        case _:
            compositor.send(1, 0, struct.pack("=III", 4, 0, 4) + b"no!\0")
    with pytest.raises(LostError):
        heard(desktop, -1.0)
    desktop.close()


def test_a_socket_of_nobody_is_no_desktop(tmp_path: Path) -> None:
    with pytest.raises(LostError, match="cannot be reached"):
        Wayland(tmp_path / "wayland-0")


# --- gamepads ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def pad(tmp_path: Path) -> Iterator[int]:
    """A joystick device as a pipe; its writing end."""
    os.mkfifo(tmp_path / "js0")
    keep = os.open(tmp_path / "js0", os.O_RDWR | os.O_NONBLOCK)
    yield keep
    os.close(keep)


def event(kind: int, number: int, value: int) -> bytes:
    return struct.pack("=IhBB", 0, value, kind, number)


@linux_only
def test_a_gamepad_counts_as_use_and_its_trembling_does_not(tmp_path: Path, pad: int) -> None:
    clock = Clock()
    pads = Gamepads(clock, tmp_path)
    os.write(pad, event(0x81, 0, 1) + event(0x82, 0, 120))  # how it lies there when it is opened
    assert pads.idle_s() is None
    for value in (300, -2000, 150, 4000):
        os.write(pad, event(2, 0, value))
    assert pads.idle_s() is None
    clock.now += 10
    os.write(pad, event(1, 3, 1))
    assert pads.idle_s() == 0.0
    clock.now += 7
    assert pads.idle_s() == 7.0
    os.write(pad, event(2, 0, 20000))
    assert pads.idle_s() == 0.0
    pads.close()


@linux_only
def test_a_gamepad_may_come_and_go(tmp_path: Path) -> None:
    clock = Clock()
    pads = Gamepads(clock, tmp_path)
    assert pads.idle_s() is None
    os.mkfifo(tmp_path / "js1")
    assert pads.idle_s() is None
    clock.now += 5
    first = os.open(tmp_path / "js1", os.O_RDWR | os.O_NONBLOCK)
    assert pads.idle_s() is None
    os.write(first, event(1, 0, 1))
    assert pads.idle_s() == 0.0
    os.close(first)
    assert pads.idle_s() == 0.0  # pulled out: forgotten, and no error
    clock.now += 3
    assert (pads.idle_s(), pads._open) == (3.0, {})


# --- the GPU ----------------------------------------------------------------------------------------------------------


class _Sample:
    def __init__(self, pid: int, stamp: int, busy: int) -> None:
        self.pid, self.timeStamp, self.smUtil = pid, stamp, busy


class _Rates:
    def __init__(self, gpu: int) -> None:
        self.gpu = gpu


class _NotFoundError(FakeNvmlError):
    pass


class LoadedNvml(FakeNvml):
    NVMLError_NotFound = _NotFoundError
    NVML_TEMPERATURE_GPU = 0

    def __init__(self, **gpus: FakeGpu) -> None:
        super().__init__(**gpus)
        self.samples: list[_Sample] = []
        self.total, self.celsius, self.tells_apart = 0, 55, True

    def nvmlDeviceGetProcessUtilization(self, handle: object, timeStamp: int) -> list[_Sample]:
        if not self.tells_apart:
            raise FakeNvmlError("Not Supported")
        found = [sample for sample in self.samples if sample.timeStamp > timeStamp]
        if not found:
            raise _NotFoundError("Not Found")
        return found

    def nvmlDeviceGetUtilizationRates(self, handle: object) -> _Rates:
        return _Rates(self.total)

    def nvmlDeviceGetTemperature(self, handle: object, sensor: int) -> int:
        return self.celsius


OURS = frozenset({10, 11})


def gpu_of(nvml: LoadedNvml) -> NvidiaLoad:
    return NvidiaLoad(nvml, ("GPU_1",))


def test_our_own_processes_load_no_gpu() -> None:
    nvml = LoadedNvml(GPU_1=FakeGpu(total=1000 * MIB, others=100 * MIB, compute={10: 600 * MIB, 77: 150 * MIB}))
    gpu = gpu_of(nvml)
    nvml.samples = [_Sample(10, 1, 90)]
    gpu.look(OURS)  # samples from before the worker looked say nothing
    nvml.samples += [_Sample(10, 2, 95), _Sample(77, 2, 20), _Sample(77, 3, 40), _Sample(78, 3, 5)]
    assert gpu.look(OURS) == GpuLoad(others=0.35, others_memory=0.25, celsius=55.0)
    assert gpu.look(OURS).others == 0.0  # nothing new has been sampled


def test_where_a_driver_does_not_tell_processes_apart_our_own_work_counts_for_nobody() -> None:
    nvml = LoadedNvml(GPU_1=FakeGpu(total=1000 * MIB, graphics={77: None}))
    nvml.tells_apart, nvml.total = False, 80
    assert gpu_of(nvml).look(OURS).others == 0.8
    nvml.gpus["GPU_1"].compute = {10: None}
    assert gpu_of(nvml).look(OURS) == GpuLoad(None, None, 55.0)


def test_a_driver_that_is_gone_holds_nobody_up() -> None:
    nvml = LoadedNvml(GPU_1=FakeGpu())
    gpu = gpu_of(nvml)
    nvml.broken = "GPU is lost"
    assert gpu.look(OURS) == GpuLoad()
    assert nvml.open == 0
    nvml.broken = ""
    assert gpu.look(OURS).celsius == 55.0
    gpu.close()
    assert nvml.open == 0


# --- processor, programs, sensors -------------------------------------------------------------------------------------


@linux_only
def test_what_our_children_use_of_the_processor_is_not_others(tmp_path: Path) -> None:
    """A child, and its child that has ended, as executors and their helpers do."""
    load = ProcessorLoad(process_memory())
    burn = "import time; end = time.process_time() + 0.4\nwhile time.process_time() < end: pass"
    inner = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}])\n{burn}\nsys.stdin.read()"
    assert load.others() is None
    before = load._before
    with subprocess.Popen([sys.executable, "-c", inner], stdin=subprocess.PIPE) as child:
        time.sleep(0.1)
        others = load.others()
        while load._before is not None and sum(load._before[2].values()) < sum(before[2].values()) + 0.8:  # type: ignore[index]
            time.sleep(0.2)
            others = load.others()
        assert child.stdin is not None
        child.stdin.close()
    assert others is not None
    assert 0.0 <= others <= 1.0
    assert load._before is not None
    assert before is not None
    assert sum(load._before[2].values()) - sum(before[2].values()) >= 0.8


@linux_only
def test_running_programs_are_found_by_name_with_or_without_exe(tmp_path: Path) -> None:
    """Also one that became another program after it was first seen."""
    game = shutil.copy(shutil.which("sleep") or "", tmp_path / "Game.EXE")
    programs, wanted = Programs(), ("game", "game.exe", "other")
    child = subprocess.Popen(["sh", "-c", f"read line; exec '{game}' 60"], stdin=subprocess.PIPE)
    assert child.stdin is not None
    try:
        assert programs.running(wanted) == frozenset()
        child.stdin.write(b"go\n")
        child.stdin.flush()
        while Path(f"/proc/{child.pid}/comm").read_text() != "Game.EXE\n":
            time.sleep(0.01)
        for _ in range(3):
            assert programs.running(wanted) == {"game", "game.exe"}
    finally:
        child.kill()
        child.wait()
        child.stdin.close()
    assert programs.running(wanted) == frozenset()


def test_a_machine_without_sensors_says_nothing() -> None:
    assert on_battery() in (None, False, True)
    assert all(-50 < degrees < 150 for degrees in temperatures().values())


# --- put together -----------------------------------------------------------------------------------------------------


class _Desk:
    """A desktop that does what the test says."""

    name = "a desk"

    def __init__(self, idle_s: float | Exception) -> None:
        self.says, self.closed = idle_s, False

    def idle_s(self) -> float:
        if isinstance(self.says, Exception):
            raise self.says
        return self.says

    def close(self) -> None:
        self.closed = True


def eyes_of(clock: Clock, *desks: _Desk) -> Eyes:
    makers = [lambda desk=desk: desk for desk in desks]
    return Eyes(
        desktops=makers, screens=(), gamepads=None, gpu=None, processes=process_memory(), clock=clock
    )  # fmt: skip


def test_the_first_desktop_that_answers_is_asked() -> None:
    clock, absent, there = Clock(), _Desk(LostError("no such service")), _Desk(12.0)
    eyes = eyes_of(clock, absent, there)
    assert eyes.owner() == 12.0
    assert absent.closed
    there.says = 3.0
    assert eyes.owner() == 3.0


def test_a_desktop_that_is_lost_is_looked_for_again_and_one_that_is_silent_is_not_given_up() -> None:
    clock, desk = Clock(), _Desk(12.0)
    eyes = eyes_of(clock, desk)
    assert eyes.owner() == 12.0
    desk.says = NoAnswerError("it hangs")
    for _ in range(3):
        with pytest.raises(NoAnswerError):
            eyes.owner()
    clock.now += 31
    desk.says = LostError("logged out")
    assert eyes.owner() is None
    assert eyes.unseen == ("whether the computer is in use: logged out",)
    desk.says = 5.0
    assert eyes.owner() is None
    clock.now += 30
    assert eyes.owner() == 5.0


def test_a_machine_without_a_desktop_says_so_and_holds_nobody() -> None:
    eyes = eyes_of(Clock())
    assert eyes.owner() is None
    assert eyes.unseen == ("whether the computer is in use: there is no desktop session here.",)


def test_what_no_setting_asks_for_is_not_looked_at() -> None:
    asked: list[str] = []

    class Screen:
        def fullscreen(self) -> bool | None:
            asked.append("fullscreen")
            return True

        def kept_on(self) -> bool | None:
            asked.append("kept on")
            return False

        def close(self) -> None: ...

    eyes = Eyes(
        desktops=(), screens=(Screen,), gamepads=None, gpu=None, processes=process_memory(), clock=Clock()
    )  # fmt: skip
    off = GateSettings(pause_on_activity=False, pause_on_fullscreen=False, run_on_battery=True, max_other_load=1.0)
    seen = eyes.machine(off)
    assert (asked, seen.others_cpu, seen.programs, seen.on_battery) == ([], None, None, None)
    seen = eyes.machine(GateSettings(exclusive_apps=("game.exe",)))
    assert (asked, seen.fullscreen, seen.screen_kept_on) == (["kept on", "fullscreen"], True, False)
    assert seen.programs == frozenset()


def test_a_laptops_gpu_sleeps_while_its_battery_keeps_the_worker_away(monkeypatch: pytest.MonkeyPatch) -> None:
    plugged = True
    monkeypatch.setattr("runner.gates.probes.eyes.on_battery", lambda: not plugged)
    nvml = LoadedNvml(GPU_1=FakeGpu())
    eyes = Eyes(
        desktops=(), screens=(), gamepads=None, gpu=gpu_of(nvml), processes=process_memory(), clock=Clock()
    )  # fmt: skip
    hot = GateSettings(max_temperature=80)
    assert eyes.machine(hot).temperatures["GPU"] == 55.0
    assert nvml.open == 1
    plugged = False
    assert "GPU" not in eyes.machine(hot).temperatures
    assert nvml.open == 0
    assert eyes.machine(GateSettings(max_temperature=80, run_on_battery=True)).temperatures["GPU"] == 55.0
    eyes.machine(GateSettings(max_other_load=1.0, run_on_battery=True))
    assert nvml.open == 0


def test_a_thing_that_is_not_there_costs_one_look_in_half_a_minute() -> None:
    clock, tries = Clock(), []

    def make() -> _Desk:
        tries.append(clock.now)
        raise LostError("none")

    one = FirstThatWorks((make,), clock)
    for _ in range(100):
        assert one.ask(lambda desk: desk.idle_s()) is None
        clock.now += 1
    assert len(tries) == 4


@pytest.mark.parametrize(
    ("environment", "desktops", "screens"),
    [
        ({}, 0, 0),
        ({"DISPLAY": ":0"}, 1, 1),
        ({"DISPLAY": ":0", "DBUS_SESSION_BUS_ADDRESS": "unix:path=/b"}, 3, 2),
        ({"DISPLAY": ":0", "WAYLAND_DISPLAY": "wayland-0", "XDG_RUNTIME_DIR": "/r"}, 1, 1),
        ({"DISPLAY": ":0", "XDG_SESSION_TYPE": "wayland", "DBUS_SESSION_BUS_ADDRESS": "unix:path=/b"}, 2, 2),
        ({"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/s"}, 1, 0),
    ],
)
def test_what_an_environment_promises_is_looked_for(
    environment: dict[str, str], desktops: int, screens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.gates.probes.choose._SYSTEM_BUS", Path("/nowhere"))
    assert len(linux_desktops(environment, 1000)) == desktops
    assert len(linux_screens(environment)) == screens


def test_where_buses_and_compositors_lie(tmp_path: Path) -> None:
    assert session_bus({"XDG_RUNTIME_DIR": str(tmp_path)}) == ""
    (tmp_path / "bus").touch()
    assert session_bus({"XDG_RUNTIME_DIR": str(tmp_path)}) == f"unix:path={tmp_path / 'bus'}"
    assert wayland_socket({"WAYLAND_DISPLAY": "wayland-1", "XDG_RUNTIME_DIR": "/r"}) == Path("/r/wayland-1")
    assert wayland_socket({"WAYLAND_DISPLAY": "/x/wayland-1"}) == Path("/x/wayland-1")
    assert wayland_socket({"WAYLAND_DISPLAY": "wayland-1"}) is None
