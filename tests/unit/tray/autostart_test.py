"""Start at login: the texts that three systems read, and that only the owner switches it on."""

import plistlib
import subprocess
from pathlib import Path

import pytest

from tray.autostart.base import AutostartError, NoAutostart
from tray.autostart.choose import named_by, start_command
from tray.autostart.linux import LinuxAutostart, desktop_entry, is_on, systemd_unit
from tray.autostart.macos import MacAutostart, is_disabled, launch_agent
from tray.autostart.windows import APPROVED, NAME, RUN, WindowsAutostart, command_line

PROGRAM = ("/opt/GoGrid Worker/gogrid-worker", "--data", '/home/ann/50% "of" $x\\y')

ENTRY = """\
[Desktop Entry]
Type=Application
Name=GoGrid Worker
Comment=Lends this machine's idle GPU to your own coordinator
Exec="/opt/GoGrid Worker/gogrid-worker" --data "/home/ann/50%% \\\\"of\\\\" \\\\$x\\\\\\\\y"
Icon=gogrid-worker
Terminal=false
X-GNOME-Autostart-enabled=true
"""

UNIT = """\
[Unit]
Description=GoGrid Worker
After=network.target

[Service]
ExecStart="/opt/GoGrid Worker/gogrid-worker" --data "/home/ann/50%% \\"of\\" $$x\\\\y"
Restart=on-failure
RestartPreventExitStatus=1 2
RestartSec=10
TimeoutStopSec=30
KillMode=mixed
Nice=5

[Install]
WantedBy=default.target
"""


def test_the_desktops_entry_is_quoted_as_its_specification_says() -> None:
    assert desktop_entry(PROGRAM) == ENTRY


def test_the_unit_is_quoted_as_systemd_says() -> None:
    assert systemd_unit(PROGRAM) == UNIT


def test_the_launch_agent_starts_it_at_login_and_does_not_keep_it_alive() -> None:
    found = plistlib.loads(launch_agent(PROGRAM, Path("/logs")))
    assert found == {
        "Label": "org.gogrid.worker",
        "ProgramArguments": list(PROGRAM),
        "RunAtLoad": True,
        "KeepAlive": False,
        "LimitLoadToSessionType": "Aqua",
        "ProcessType": "Interactive",
        "StandardErrorPath": "/logs/launchd.log",
    }


def test_a_path_with_a_line_break_cannot_write_another_line_into_the_entry() -> None:
    for text in (desktop_entry, systemd_unit):
        with pytest.raises(AutostartError, match="line break"):
            text(("/opt/x\nExec=evil",))


class Asked:
    """What the system is asked, and what it answers."""

    def __init__(self, answer: str = "") -> None:
        self.answer = answer
        self.words: list[tuple[str, ...]] = []

    def __call__(self, words: object) -> str:
        self.words.append(tuple(words))  # type: ignore[arg-type]
        return self.answer


def linux(home: Path, **environment: str) -> LinuxAutostart:
    return LinuxAutostart(("/bin/w",), environment, home, Asked())


def test_a_desktop_gets_an_entry_and_nothing_is_left_of_it_when_switched_off(tmp_path: Path) -> None:
    login = linux(tmp_path, DISPLAY=":0")
    entry = tmp_path / ".config/autostart/gogrid-worker.desktop"
    assert login.state() is False
    login.set(on=True)
    assert (login.state(), entry.read_text()) == (True, desktop_entry(("/bin/w",)))
    login.set(on=False)
    assert (login.state(), entry.exists()) == (False, False)


def test_a_machine_without_a_desktop_gets_a_unit(tmp_path: Path) -> None:
    (tmp_path / "run/systemd").mkdir(parents=True)
    login = linux(tmp_path, XDG_RUNTIME_DIR=str(tmp_path / "run"), XDG_CONFIG_HOME=str(tmp_path / "c"))
    units = tmp_path / "c/systemd/user"
    assert login.state() is False
    login.set(on=True)
    assert login.state() is True
    assert (units / "default.target.wants/gogrid-worker.service").read_text() == systemd_unit(("/bin/w",))
    login.set(on=True)
    assert login.state() is True
    login.set(on=False)
    assert login.state() is False
    assert [path for path in units.rglob("*") if not path.is_dir()] == []


def test_where_nothing_starts_programs_at_login_it_says_so(tmp_path: Path) -> None:
    login = linux(tmp_path)
    assert "neither a desktop nor a systemd" in str(login.state())
    with pytest.raises(AutostartError, match="neither a desktop"):
        login.set(on=True)
    login.set(on=False)
    assert "plan9" in str(NoAutostart("plan9").state())


@pytest.mark.parametrize("line", ["Hidden=true", "X-GNOME-Autostart-enabled=false", "Hidden = true"])
def test_what_was_switched_off_in_the_desktops_settings_counts_as_off(line: str) -> None:
    assert is_on(ENTRY)
    assert not is_on(ENTRY.replace("X-GNOME-Autostart-enabled=true", line))


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / ".config").write_text("a file")
    with pytest.raises(AutostartError, match="Start at login cannot be changed: "):
        linux(tmp_path, DISPLAY=":0").set(on=True)


def test_macos_counts_what_login_items_has_disabled_as_off(tmp_path: Path) -> None:
    asked = Asked()
    login = MacAutostart(("/bin/w",), tmp_path, tmp_path, 501, asked)
    assert login.state() is False
    login.set(on=True)
    assert login.state() is True
    assert asked.words[0] == ("launchctl", "enable", "gui/501/org.gogrid.worker")
    asked.answer = '\tdisabled services = {\n\t\t"org.gogrid.worker" => disabled\n\t}\n'
    assert login.state() is False
    login.set(on=False)
    assert not (tmp_path / "Library/LaunchAgents/org.gogrid.worker.plist").exists()
    assert not is_disabled('"org.gogrid.worker" => enabled')
    assert not is_disabled('"org.gogrid.workerx" => disabled')


class MemoryRegistry:
    """Implements `UserRegistry`."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str], str | bytes] = {}

    def read(self, key: str, name: str) -> str | bytes | None:
        return self.values.get((key, name))

    def write(self, key: str, name: str, value: str) -> None:
        self.values[(key, name)] = value

    def delete(self, key: str, name: str) -> None:
        self.values.pop((key, name), None)


def test_windows_counts_what_the_task_manager_has_disabled_as_off() -> None:
    registry = MemoryRegistry()
    login = WindowsAutostart(("C:\\Program Files\\w.exe", "--data", "D:\\x y"), registry)
    assert login.state() is False
    login.set(on=True)
    assert registry.values == {(RUN, NAME): '"C:\\Program Files\\w.exe" --data "D:\\x y"'}
    assert login.state() is True
    registry.values[(APPROVED, NAME)] = bytes((3, *[0] * 11))
    assert login.state() is False
    registry.values[(APPROVED, NAME)] = bytes((2, *[0] * 11))
    assert login.state() is True
    registry.values[(APPROVED, NAME)] = bytes((3, *[0] * 11))
    login.set(on=True)
    assert login.state() is True
    login.set(on=False)
    assert registry.values == {}
    assert command_line(("w",)) == "w"


def test_the_program_that_is_named_survives_an_update(tmp_path: Path) -> None:
    assert start_command("/tmp/.mount/w", {"APPIMAGE": "/home/ann/W.AppImage"}, frozen=True) == (
        "/home/ann/W.AppImage",
    )
    assert start_command("/opt/w", {}, frozen=True) == ("/opt/w",)
    assert start_command("/venv/bin/python", {}, frozen=False) == ("/venv/bin/python", "-P", "-m", "tray.cli")
    for name in ("python.exe", "pythonw.exe"):
        (tmp_path / name).touch()
    command = start_command(str(tmp_path / "python.exe"), {}, frozen=False)
    assert command[0] == str(tmp_path / "pythonw.exe")


def test_windows_starts_the_installed_app_without_a_console(tmp_path: Path) -> None:
    """The fault: a black window at every login, whose cross ends the worker."""
    worker = tmp_path / "gogrid-worker.exe"
    assert start_command(str(worker), {}, frozen=True) == (str(worker),)
    (tmp_path / "gogrid-app.exe").touch()
    assert start_command(str(worker), {}, frozen=True) == (str(tmp_path / "gogrid-app.exe"),)
    assert start_command(str(tmp_path / "gogrid-worker"), {}, frozen=True) == (str(tmp_path / "gogrid-worker"),)


def test_places_named_by_variables_are_there_at_login_too() -> None:
    assert named_by({"GOGRID_WORKER_DATA": "/d"}) == ("--data", "/d")
    assert named_by({}) == ()


def test_nothing_but_the_owners_word_switches_it_on() -> None:
    """The threat: an app that puts itself back. Only a command and a message of the owner's call `set`."""
    root = Path(__file__).parents[3]
    found = subprocess.run(
        ["grep", "-rlE", r"\.set\(on=", "--include=*.py", "tray", "runner", "gogrid", "updates", "packaging"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert set(found.stdout.split()) <= {"tray/commands/autostart.py", "tray/app_answers.py"}
