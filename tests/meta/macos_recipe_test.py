"""The macOS recipe as text, for no Mac has run it yet: what its parts say of each other holds.

Building it on a Mac is left to `.github/workflows/macos-app.yml`.
"""

import plistlib
import re
from pathlib import Path
from typing import Any

import pytest

from gogrid.jointoken import LINK
from tray.autostart.macos import launch_agent

ROOT = Path(__file__).parents[2]
MACOS = ROOT / "packaging/macos"
BUNDLE = (MACOS / "bundle").read_text(encoding="utf-8")
WORKFLOW = (ROOT / ".github/workflows/macos-app.yml").read_text(encoding="utf-8")
APP = "/Applications/GoGrid Worker.app"


def plist(name: str) -> dict[str, Any]:
    found: dict[str, Any] = plistlib.loads((MACOS / name).read_bytes())
    return found


def test_the_bundles_description_names_what_the_bundle_holds() -> None:
    said = plist("Info.plist")
    assert f'-o "$APP/Contents/MacOS/{said["CFBundleExecutable"]}"' in BUNDLE
    assert f'{said["CFBundleIconFile"]} "$APP/Contents/Resources/"' in BUNDLE
    assert said["CFBundleShortVersionString"] == said["CFBundleVersion"] == "@VERSION@"
    assert "s/@VERSION@/$VERSION/g" in BUNDLE
    assert said["LSUIElement"] is True, "it has an icon in the menu bar, and none in the Dock"


def test_data_lies_among_the_resources_where_a_seal_takes_it() -> None:
    """The fault: codesign takes all in Contents/MacOS for code, and refuses a bundle with data there."""
    inside = re.findall(r'"\$APP/Contents/MacOS/([^"]*)"', BUNDLE)
    assert inside == ["gogrid-worker"]
    assert 'cp -R dist/gogrid "$APP/Contents/Resources/gogrid"' in BUNDLE
    assert '"/../Resources/gogrid/gogrid-worker"' in (MACOS / "launcher.c").read_text()


def test_every_library_is_signed_before_what_seals_it() -> None:
    order = [
        BUNDLE.index(step)
        for step in (
            '"${WITH_RIGHTS[@]}" "$file"',
            "packaging/app/archive.py",
            "cp -R dist/gogrid",
            '"${SIGN[@]}" "$JOIN"',
            '"${WITH_RIGHTS[@]}" "$APP"',
            "codesign --verify",
            "hdiutil create",
            "notarytool submit",
            "stapler staple",
        )
    ]
    assert order == sorted(order)
    assert "--options runtime" in BUNDLE, "Apple notarises nothing without the hardened runtime"


def test_its_rights_are_those_that_an_engine_pack_needs_and_no_more() -> None:
    """The threat: `get-task-allow`, or a switched off seal of the program's own pages."""
    assert plist("entitlements.plist") == {
        f"com.apple.security.cs.{name}": True
        for name in ("disable-library-validation", "allow-jit", "allow-unsigned-executable-memory")
    }


def test_links_ask_their_owner_before_they_join() -> None:
    """The threat: a link on a web page that lends this machine to a stranger."""
    script = (MACOS / "join.applescript").read_text(encoding="utf-8")
    assert script.index("display dialog") < script.index("do shell script")
    assert 'default button "Cancel" cancel button "Cancel"' in script
    assert "quoted form of link" in script
    assert f'"CFBundleURLSchemes": ["{LINK.partition(":")[0]}"]' in BUNDLE
    assert "CFBundleURLTypes" not in plist("Info.plist"), "two programs for one kind of link"


def test_the_agent_for_macs_without_a_screen_starts_the_installed_program() -> None:
    said = plist("org.gogrid.worker.plist")
    assert said["ProgramArguments"] == [f"{APP}/Contents/MacOS/gogrid-worker", "--headless"]
    other = plistlib.loads(launch_agent((f"{APP}/x",), Path("/logs")))
    assert said["Label"] == other["Label"], "one name, so that never two of them run"
    assert "launchctl" not in BUNDLE, "nothing installs it but its owner"


@pytest.mark.parametrize("name", ["macos-14", "macos-15-intel"])
def test_both_kinds_of_macs_build_it(name: str) -> None:
    assert re.search(rf"runner: \[.*{name}.*\]", WORKFLOW)


def test_the_workflow_can_write_nothing_and_runs_what_was_reviewed() -> None:
    """The threat: a tag of somebody's action that is moved to other code, with our signing key at hand."""
    assert re.search(r"^permissions:\n  contents: read$", WORKFLOW, re.MULTILINE)
    used = re.findall(r"uses: (\S+)", WORKFLOW)
    assert used
    assert [each for each in used if not re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", each)] == []
    assert "pull_request" not in WORKFLOW
    assert "NOT YET RUN" in WORKFLOW
    assert "NOT YET RUN" in BUNDLE
