"""What the window lets its owner do, and what becomes of a refusal, in a real browser with values behind it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import Page, expect

from runner.control_messages import AskPause, AskResume
from tests.fakes.window_doors import FakeApp, FakeWorker, doors
from tests.fakes.window_server import window_server
from tray.instance_messages import AppState, UpdateState
from tray.window.bridge.dispatch import Dispatcher
from tray.window.bridge.doors import Doors

pytestmark = pytest.mark.desktop
Serve = Callable[[Doors], str]
UNKEPT = "The pause cannot be kept in /d/pause.json: No space left on device. It holds now, but only until it ends."
UNKNOWN = "config.toml: worker.max_wram is unknown; worker.max_vram is meant?"


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as stack:
        yield lambda behind: stack.enter_context(window_server(Dispatcher(behind)))


def test_behind_a_gate_there_is_a_pause_to_order_and_nothing_to_resume(serve: Serve, page: Page) -> None:
    worker = FakeWorker(gates=("the computer is in use",))
    page.goto(serve(doors(worker, FakeApp(state=AppState.PAUSED))) + "?page=logs")
    expect(page.locator("#state-word")).to_have_text("Paused")
    pause, resume = page.get_by_role("button", name="Pause"), page.get_by_role("button", name="Resume")
    expect(pause).to_be_visible()
    expect(resume).to_be_hidden()
    pause.click()
    expect(resume).to_be_visible()
    expect(pause).to_be_hidden()
    resume.click()
    expect(pause).to_be_visible()
    assert [type(one) for one in worker.asked if isinstance(one, AskPause | AskResume)] == [AskPause, AskResume]


def test_a_pause_that_is_not_kept_says_so_until_it_is_over(serve: Serve, page: Page) -> None:
    worker = FakeWorker(unkept=UNKEPT)
    page.goto(serve(doors(worker, FakeApp(state=AppState.PAUSED))) + "?page=logs")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#state-note")).to_have_text(UNKEPT)
    worker.order = ""  # by another hand
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator("#state-note")).to_have_text("")


def test_one_who_lets_it_finish_may_pause_or_resume_it(serve: Serve, page: Page) -> None:
    page.goto(serve(doors(FakeWorker(order="finish"))) + "?page=logs")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()


def test_a_refused_switch_goes_back_and_its_error_goes_when_the_file_is_right(serve: Serve, page: Page) -> None:
    worker = FakeWorker()
    page.goto(serve(doors(worker)) + "?page=settings")
    switch, trouble = page.locator("#worker-run_on_battery"), page.locator("#settings-trouble")
    expect(switch).not_to_be_checked()
    worker.wrong = UNKNOWN
    switch.click()
    expect(trouble).to_have_text(UNKNOWN)
    expect(page.locator("#worker-run_on_battery-say")).to_contain_text("Not changed")
    expect(switch).not_to_be_checked()
    expect(switch).to_be_focused()
    hour = page.get_by_label("Monday 0:00 to 1:00")
    before = hour.get_attribute("aria-pressed")
    hour.focus()
    page.keyboard.press("Space")
    expect(page.locator("#worker-schedule-say")).to_contain_text("Not changed")
    expect(hour).to_have_attribute("aria-pressed", before or "")
    slider = page.locator("#worker-max_ram")
    slider.focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#worker-max_ram-say")).to_contain_text("Not changed")
    expect(slider).to_have_value("50")
    worker.wrong = ""
    expect(trouble).to_be_hidden()
    expect(page.locator("#worker-run_on_battery-say")).to_have_text("")
    switch.click()
    expect(page.locator("#worker-run_on_battery-say")).to_have_text("Saved.")
    expect(switch).to_be_checked()
    assert worker.settings["worker.run_on_battery"] == "true"


def test_a_limit_between_the_slider_s_steps_is_shown_as_it_is_and_not_written(serve: Serve, page: Page) -> None:
    worker = FakeWorker()
    worker.settings |= {"worker.max_ram": "3GB", "worker.max_vram": "12.5%"}
    page.goto(serve(doors(worker)) + "?page=settings")
    told = page.locator("#worker-max_ram-out")
    expect(told).to_have_text("3 GB")
    expect(page.locator("#worker-max_vram-out")).to_have_text("12.5 % · 3 GB")
    slider = page.locator("#worker-max_ram")
    slider.focus()
    page.keyboard.press("Tab")
    assert worker.settings["worker.max_ram"] == "3GB"
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(told).to_have_text("10 % · 6.4 GB")
    expect(page.locator("#worker-max_ram-say")).to_have_text("Saved.")
    assert (worker.settings["worker.max_ram"], worker.settings["worker.max_vram"]) == ("10%", "12.5%")


def test_settings_appear_when_their_file_was_repaired(serve: Serve, page: Page) -> None:
    worker = FakeWorker(wrong=UNKNOWN)
    page.goto(serve(doors(worker)) + "?page=settings")
    expect(page.locator("#settings-trouble")).to_have_text(UNKNOWN)
    worker.wrong = ""
    expect(page.locator("#worker-disk_cap")).to_have_value("100GB")
    expect(page.locator("#settings-trouble")).to_be_hidden()


def test_a_refused_start_at_login_goes_back(serve: Serve, page: Page) -> None:
    page.goto(serve(doors()) + "?page=settings")
    switch = page.locator("#autostart")
    expect(switch).to_be_checked()
    switch.click()
    expect(page.get_by_text("There is no systemd")).to_be_visible()
    expect(switch).to_be_checked()


def test_an_installation_that_pip_updates_has_no_switch_for_updates(serve: Serve, page: Page) -> None:
    page.goto(serve(doors(FakeWorker(memory_in_use=0), FakeApp(update=UpdateState()))) + "?page=settings")
    switch = page.locator("#updates-enabled")
    expect(switch).to_be_disabled()
    expect(switch).not_to_be_checked()
    expect(page.locator("#updates-enabled-help")).to_contain_text("updated by what installed it")
    expect(page.locator("#worker-max_vram-help")).to_contain_text("no model is loaded")
