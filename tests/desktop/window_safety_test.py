"""The window's page against hostile words, without a mouse, in the dark; with values instead of a worker behind it."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import Browser, Page, expect

from gogrid.addresses import Address
from gogrid.jointoken import mint
from tests.desktop.conftest import picture
from tests.fakes.window_doors import SETTINGS, FakeApp, FakeErrands, FakeLogs, FakeWorker, doors
from tests.fakes.window_server import window_server
from tray.instance_messages import AppState
from tray.window.bridge.dispatch import Dispatcher
from tray.window.bridge.doors import Doors

pytestmark = pytest.mark.desktop
PAGES = ("join", "settings", "statistics", "logs")
HOSTILE = "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=1>\"'`${window.hacked=1}\u202e"
TOKEN = mint(bytes(range(32)), (Address("10.0.0.5", 8443),), 4_000_000_000).text()
Serve = Callable[[Doors], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as stack:
        yield lambda behind: stack.enter_context(window_server(Dispatcher(behind)))


def hostile_doors() -> Doors:
    return doors(
        worker=FakeWorker(name=HOSTILE, settings=dict.fromkeys(SETTINGS, HOSTILE)),
        app=FakeApp(sentence=HOSTILE),
        errands=FakeErrands(name=HOSTILE),
        logs=FakeLogs(text=f"{HOSTILE}\n" * 3),
    )


def test_no_name_and_no_log_line_can_script_the_page(serve: Serve, page: Page) -> None:
    url = serve(hostile_doors())
    for name in PAGES:
        page.goto(f"{url}?page={name}")
        expect(page.locator("#state-sentence")).to_have_text(HOSTILE)
        if name == "join":
            expect(page.locator("#already")).to_contain_text(HOSTILE)
        if name == "settings":
            expect(page.locator("#worker-exclusive_apps")).to_have_value(HOSTILE)
        if name == "logs":
            expect(page.locator("#log > div")).to_have_text([HOSTILE] * 3)
        assert page.evaluate("window.hacked") is None
        assert page.locator("script").count() == 1
        assert page.locator("img, iframe, object, a[href^=javascript]").count() == 0


def test_a_hostile_coordinator_cannot_script_the_first_run(serve: Serve, page: Page) -> None:
    runs = FakeWorker(name=HOSTILE, runs=False)
    url = serve(doors(runs, FakeApp(sentence=HOSTILE, state=AppState.NOT_JOINED), FakeErrands(HOSTILE, known=False)))
    page.goto(f"{url}?page=join")
    page.fill("#token", TOKEN)
    expect(page.locator("#coordinator-name")).to_have_text(HOSTILE)
    runs.runs = True
    page.click("#join")
    expect(page.locator("#answer")).to_have_text(HOSTILE)
    expect(page.locator("ol.progress")).to_contain_text(HOSTILE)
    assert page.evaluate("window.hacked") is None
    assert page.locator("script").count() == 1


def test_the_policy_stops_a_script_that_got_into_the_page(serve: Serve, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(serve(doors()) + "?page=logs")
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text))
    page.evaluate('document.body.innerHTML = \'<img src="data:," onerror="window.hacked=1">\'')
    page.evaluate(
        """() => {
          const made = document.createElement("script");
          made.textContent = "window.hacked=1";
          document.body.append(made);
        }"""
    )
    page.wait_for_timeout(200)
    assert page.evaluate("window.hacked") is None
    assert any("Content Security Policy" in text for text in refused)
    page.close()


def test_nothing_is_fetched_but_the_page_itself(serve: Serve, page: Page) -> None:
    seen: set[str] = set()
    page.on("request", lambda request: seen.add(request.url))
    url = serve(doors())
    for name in PAGES:
        page.goto(f"{url}?page={name}")
        expect(page.locator("#state-word")).to_have_text("Working")
    assert seen <= {url + "call", *(f"{url}?page={name}" for name in PAGES)}


def test_without_a_worker_the_settings_are_read_once_not_every_look(serve: Serve, page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.post_data or ""))
    page.goto(serve(doors(FakeWorker(runs=False), FakeApp(there=False))) + "?page=settings")
    expect(page.locator("#worker-disk_cap")).to_have_value("100GB")
    page.wait_for_timeout(2500)
    assert sum("Look" in one for one in asked) >= 2
    assert sum("ReadSettings" in one for one in asked) == 1


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.id || document.activeElement.textContent"))


def test_the_keyboard_alone_reaches_everything_and_focus_is_seen(serve: Serve, page: Page) -> None:
    page.goto(serve(doors()) + "?page=settings")
    expect(page.locator("#worker-disk_cap")).to_be_visible()
    reached: list[str] = []
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.append(focused(page))
        visible = page.evaluate("getComputedStyle(document.activeElement).outline")
        assert "none" not in visible, reached[-1]
        if reached[-1] == "Join another…":
            break
    wanted = {f"{key.replace('.', '-')}" for key in SETTINGS if key not in NOT_REACHED} | {"autostart", "update-button"}
    assert wanted <= {*reached, "worker-schedule"}
    assert reached[0] == "Skip to the page"
    assert reached[1:5] == ["Join", "Settings", "Statistics", "Logs"]
    page.keyboard.press("Shift+Tab")
    page.goto(page.url)
    for _ in range(4):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Statistics")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_label("Day")).to_be_checked()


NOT_REACHED = ("worker.max_vram_gb", "worker.notifications", "worker.cpu_cores", "worker.schedule")
"""A second name; one that the environment has set; one that is folded away; a grid, whose cells have no id."""


def test_every_control_has_a_name(serve: Serve, page: Page) -> None:
    url = serve(doors())
    for name in PAGES:
        page.goto(f"{url}?page={name}")
        expect(page.locator("#state-word")).to_have_text("Working")
        assert page.evaluate(NAMELESS) == []


NAMELESS = """() => [...document.querySelectorAll("button, input, select, textarea")]
  .filter((one) => !one.hidden && !one.ariaLabel && !one.labels?.length)
  .filter((one) => one.tagName !== "BUTTON" || !one.textContent.trim())
  .map((one) => one.outerHTML)"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_can_be_read_by_day_and_by_night(serve: Serve, page: Page, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    url = serve(doors())
    for name in PAGES:
        page.goto(f"{url}?page={name}")
        expect(page.locator("#state-word")).to_have_text("Working")
        page.wait_for_timeout(150)
        picture(page, f"page-{name}-{scheme}")
        for one in page.evaluate(PAIRS):
            assert contrast(one["ink"], one["ground"]) >= 4.5, one
    ground = luminance(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert (ground > 0.8) == (scheme == "light")


PAIRS = """() => [...document.querySelectorAll("h1, h2, p, .help, .label, dt, dd, nav button, .main, .plain, .say")]
  .filter((one) => one.checkVisibility() && one.textContent.trim() && !one.closest(":disabled")).map((one) => {
    let under = one;
    while (getComputedStyle(under).backgroundColor === "rgba(0, 0, 0, 0)") under = under.parentElement;
    const ground = getComputedStyle(under).backgroundColor;
    return { text: one.textContent.slice(0, 40), ink: getComputedStyle(one).color, ground };
  })"""


def luminance(colour: str) -> float:
    parts = [int(number) / 255 for number in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """As WCAG defines it."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
