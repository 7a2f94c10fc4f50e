"""Who asks for the window hears whether it can be seen, and reads no traceback where it cannot."""

import logging
import sys
from pathlib import Path

import pytest

from tray.app.window_process import SHOWN, AppWindow
from tray.gtk import advice
from tray.instance_messages import ShowWindow
from tray.window.shell import TriedToolkits

QUESTION = ShowWindow(page="settings")


async def shown(program: str) -> tuple[str, list[str]]:
    """The answer to who asked for a window that behaves so, and the log."""
    log: list[str] = []
    window = AppWindow((sys.executable, "-S", "-c", program), log.append, shows_within_s=60.0)
    answer = await window.show(QUESTION)
    await window.close()
    return answer, log


async def test_a_window_that_cannot_be_shown_says_why_to_who_asked_for_it() -> None:
    answer, log = await shown("import sys; sys.exit('gogrid-window: no toolkit')")
    assert (answer, log) == ("no toolkit", ["the window ended: gogrid-window: no toolkit"])


async def test_a_window_that_can_be_seen_is_not_waited_for() -> None:
    assert await shown(f"import sys; print({SHOWN!r}, flush=True); sys.stdin.read()") == ("", [])


@pytest.mark.timeout(30)
async def test_a_line_without_end_hides_neither_the_window_nor_its_complaint() -> None:
    endless = "import sys; [(print('x' * 200_000, file=to), to.flush()) for to in (sys.stdout, sys.stderr)]"
    assert await shown(f"{endless}; print({SHOWN!r}, flush=True); sys.stdin.read()") == ("", [])
    assert await shown(f"{endless}; sys.exit('gogrid-window: no toolkit')") == (
        "no toolkit", ["the window ended: gogrid-window: no toolkit"],
    )  # fmt: skip


def tried(error: Exception, words: str) -> bool:
    """Whether pywebview's record passes."""
    try:
        raise error
    except type(error):
        record = logging.LogRecord("pywebview", logging.ERROR, "", 0, words, (), sys.exc_info())
    return TriedToolkits().filter(record)


def test_only_toolkits_that_cannot_be_loaded_are_kept_from_the_log() -> None:
    assert not tried(ModuleNotFoundError("No module named 'gi'", name="gi"), "GTK cannot be loaded")
    assert not tried(ValueError("Namespace WebKit2 not available"), "GTK cannot be loaded")
    assert tried(RuntimeError("a fault"), "GTK cannot be loaded")
    assert tried(ImportError("a fault"), "Error occurred while evaluating function")


def test_without_gtk_the_reason_and_the_remedy_are_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    logger, kept = logging.getLogger("pywebview.test"), TriedToolkits()
    logger.addFilter(kept)
    for module, toolkit in (("gi", "GTK"), ("qtpy", "QT")):
        try:
            raise ModuleNotFoundError(f"No module named '{module}'", name=module)
        except ModuleNotFoundError:
            logger.exception("%s cannot be loaded", toolkit)
    assert kept.told.startswith("No module named 'gi'; No module named 'qtpy'. For GTK ")
    assert "\n" not in kept.told
    assert caplog.records == []


def test_bindings_that_the_virtual_environment_does_not_see_are_not_to_be_installed_again(tmp_path: Path) -> None:
    packages, own = "python3-gi and gir1.2-gtk-3.0", tmp_path / "gogrid"
    see = f"python3 -m venv --system-site-packages {own}"
    assert advice(packages, without_bindings=True, environment=tmp_path, base=tmp_path) == f"install {packages}"
    anew = advice(packages, without_bindings=True, environment=own, base=tmp_path)
    assert anew == f"install {packages}, and let this virtual environment see them: {see}"
    (tmp_path / "lib" / "python3" / "dist-packages" / "gi").mkdir(parents=True)
    hidden = advice(packages, without_bindings=True, environment=own, base=tmp_path)
    assert hidden == f"python3-gi is installed, but this virtual environment does not see it; run: {see}"
    assert advice(packages, without_bindings=False, environment=own, base=tmp_path) == f"install {packages}"
