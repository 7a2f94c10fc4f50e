"""The Windows installer as text: what it writes is what the programs look for, and what it removes is only ours.

Installed, joined, upgraded and removed for real it is by `make packages-windows-test`, under Wine.
"""

import ast
import re
from pathlib import Path, PureWindowsPath

import pytest

from gogrid.jointoken import LINK
from gogrid.places import worker_places
from tray.autostart.windows import APPROVED, NAME, RUN, command_line

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "packaging/windows/gogrid.nsi").read_text(encoding="utf-8")
SPEC = (ROOT / "packaging/app/gogrid.spec").read_text(encoding="utf-8")
DEFINED = dict(re.findall(r'^!define (\w+) "(.+)"$', TEXT, re.MULTILINE))
FOLDER = r"C:\Users\Ann\AppData\Local\Programs\GoGrid Worker"


def part(kind: str, name: str) -> str:
    """A section's or function's body, with what `!define` names in it put in."""
    found = re.search(rf"^{kind} [^\n]*{re.escape(name)}[^\n]*\n(.*?)^{kind}End$", TEXT, re.MULTILINE | re.DOTALL)
    assert found is not None, name
    return re.sub(r"\$\{(\w+)\}", lambda word: DEFINED.get(word[1], word[0]), found[1])


def programs() -> set[str]:
    """Those that the spec makes on Windows."""
    body = ast.parse(SPEC).body
    made = next(
        node.value for node in body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PROGRAMS"
    )
    more = re.findall(r'^    PROGRAMS\["([\w-]+)"\]', SPEC, re.MULTILINE)
    return {*ast.literal_eval(made), *more}


def test_it_asks_for_no_administrator_and_stays_in_the_users_folder() -> None:
    assert re.search(r"^RequestExecutionLevel user$", TEXT, re.MULTILINE)
    assert re.search(r'^InstallDir "\$LOCALAPPDATA\\Programs\\', TEXT, re.MULTILINE)
    assert not re.search(r"HKLM|HKCR|HKEY_LOCAL|SetShellVarContext all|\$PROGRAMFILES", TEXT)


def test_start_at_login_is_off_unless_ticked_and_is_the_switch_that_the_menu_has() -> None:
    """The threat: software that puts itself into every login."""
    assert re.search(r'^Section /o "Start at login" SecLogin$', TEXT, re.MULTILINE)
    assert RUN not in part("Section", "SecApp")
    written = part("Section", "SecLogin").strip()
    command = command_line([f"{FOLDER}\\gogrid-app.exe"])
    assert written.replace("$INSTDIR", FOLDER) == f'WriteRegStr HKCU "{RUN}" "{NAME}" \'{command}\''
    assert "SF_SELECTED" not in TEXT.replace(part("Function", ".onInit"), "").replace(part("Function", "un.onInit"), "")


def test_links_go_to_join() -> None:
    section = part("Section", "SecApp")
    scheme = LINK.partition(":")[0]
    assert f'WriteRegStr HKCU "Software\\Classes\\{scheme}" "URL Protocol" ""' in section
    key = f"Software\\Classes\\{scheme}\\shell\\open\\command"
    assert f'"{key}" "" \'"$INSTDIR\\gogrid-worker.exe" join --ask "%1"\'' in section, "nobody joins by one click"


def test_every_program_of_the_spec_is_removed_and_nothing_that_is_not_ours() -> None:
    """The fault: `RMDir /r $INSTDIR` where the owner chose a folder with other things in it."""
    removed = part("Function", "${un}RemovePrograms")
    assert {name.removesuffix(".exe") for name in re.findall(r"INSTDIR\\([\w-]+\.exe)", removed)} == programs()
    swept = set(re.findall(r'RMDir /r "([^"]+)"', TEXT))
    assert swept == {
        *(rf"$INSTDIR\{name}" for name in ("_internal", "incoming")),
        *(rf"${{DATA}}\app\{name}" for name in ("versions", "downloads")),
        *("${DATA}", r"$APPDATA\GoGrid Worker"),
    }


def test_all_that_is_written_is_removed_again() -> None:
    gone = part("Section", "UnApp")
    for key in ("CLASS", "KEY"):
        assert f'DeleteRegKey HKCU "{DEFINED[key]}"' in gone
    assert r'DeleteRegKey HKCU "Software\GoGrid Worker"' in gone
    for key in (RUN, APPROVED):
        assert f'DeleteRegValue HKCU "{key}" "{NAME}"' in gone
    shortcut = re.search(r'CreateShortcut "([^"]+)"', TEXT)
    assert shortcut is not None
    assert f'Delete "{shortcut[1]}"' in gone
    roots = {key.split("\\")[0] for key in re.findall(r'WriteReg\w+ HKCU "([^"]+)"', TEXT)}
    assert roots == {"Software", "${CLASS}", "${KEY}", "${RUN}"} | {"${CLASS}"}


@pytest.mark.parametrize("variable", ["LOCALAPPDATA", "APPDATA"])
def test_the_owners_folders_are_those_of_the_programs_and_go_only_when_asked(variable: str) -> None:
    """The threat: an uninstaller that takes a worker's identity and gigabytes of models with it."""
    surroundings = {"LOCALAPPDATA": "/local", "APPDATA": "/roaming"}
    places = worker_places(
        config=None, data=None, environment=surroundings, platform="win32", home=Path("/home"), user=0
    )
    folder = {"LOCALAPPDATA": places.data, "APPDATA": places.config.parent}[variable]
    named = PureWindowsPath(f"${variable}") / folder.relative_to(surroundings[variable]).as_posix()
    asked = part("Section", "UnForget")
    assert f'RMDir /r "{named}"' in asked
    assert f'RMDir /r "{named}"' not in TEXT.replace("${DATA}", DEFINED["DATA"]).replace(asked, "")
    assert re.search(r"^Section /o \"un\..+\" UnForget$", TEXT, re.MULTILINE)


def test_what_runs_is_asked_before_it_is_ended_and_only_what_is_ours() -> None:
    """The fault: `taskkill /IM`, which ends a worker that pip installed, too."""
    ending = part("Function", "${un}EndPrograms")
    assert ending.index(" quit'") < ending.index("EndThoseBelow")
    assert "taskkill" not in TEXT
    assert re.findall(r'Push "([^"]+)"', ending) == ["$INSTDIR\\", r"$LOCALAPPDATA\GoGrid Worker\app\versions" + "\\"]


def test_an_upgrade_ends_what_runs_only_when_all_new_files_are_there() -> None:
    section = part("Section", "SecApp")
    assert section.index("File /r") < section.index("Call EndPrograms") < section.index("Call RemovePrograms")
