"""What the window lets its owner do, and what becomes of a refusal, in a real browser with values behind it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import Page, expect

from tests.fakes.window_doors import FakeApp, FakeWorker, doors
from tests.fakes.window_server import window_server
from tray.instance_messages import AppState
from tray.window.bridge.dispatch import Dispatcher
from tray.window.bridge.doors import Doors

pytestmark = pytest.mark.desktop
Serve = Callable[[Doors], str]


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
    assert worker.order == "pause"
    resume.click()
    expect(pause).to_be_visible()
    assert worker.order == ""


def test_one_who_lets_it_finish_may_pause_or_resume_it(serve: Serve, page: Page) -> None:
    page.goto(serve(doors(FakeWorker(order="finish"))) + "?page=logs")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
