"""The window's page in a real browser, with a real coordinator, app, runner and sandbox behind it."""

import openai
import pytest
from playwright.sync_api import Page, expect

from gogrid.addresses import Address
from gogrid.jointoken import mint, parse
from runner.control_messages import AskSettings, AskStatus, Settings, WorkerStatus
from tests.desktop.conftest import Desk, picture, within
from tray.control_client import NotRunningError, ask

pytestmark = [pytest.mark.desktop, pytest.mark.sandbox]


@pytest.fixture(scope="module")
def joined(desk: Desk) -> Desk:
    """By `test_a_first_run…`; without it by the command line."""
    if not (desk.places.state / "membership.json").exists():
        desk.join()
    within(20, lambda: connected(desk))
    return desk


def connected(desk: Desk) -> bool:
    try:
        found = ask(desk.places.control, AskStatus())
    except NotRunningError:
        return False
    return isinstance(found, WorkerStatus) and found.connected


def setting(desk: Desk, key: str) -> tuple[str, str]:
    """Value and origin, as the running worker has it."""
    found = ask(desk.places.control, AskSettings())
    assert isinstance(found, Settings)
    return next((one.value, one.origin) for one in found.settings if one.key == key)


def test_a_first_run_shows_who_it_is_and_ends_with_an_answer_of_this_machine(desk: Desk, page: Page) -> None:
    made = desk.token()
    page.goto(desk.url + "?page=join")
    expect(page.locator("#state-word")).to_have_text("Not joined")
    page.fill("#token", "ggj1_nonsense")
    expect(page.locator("#token-problem")).to_contain_text("cut short")
    elsewhere = mint(bytes(32), (Address("127.0.0.1", desk.grid.endpoint.port),), 4_000_000_000)
    page.fill("#token", elsewhere.text())
    expect(page.locator("#coordinator-name")).to_contain_text("do not join")
    page.fill("#token", made["token"])
    expect(page.locator("#pin-words")).to_have_text(made["words"])
    expect(page.locator("#coordinator-address")).to_have_text(f"127.0.0.1:{desk.grid.endpoint.port}")
    expect(page.locator("#coordinator-name")).to_have_text("local")
    picture(page, "first-run-light")
    assert not desk.places.state.exists() or not any(desk.places.state.iterdir())
    page.fill("#worker-name", "under-the-desk")
    page.click("#join")
    expect(page.locator("#answer")).to_contain_text("Say hello", timeout=30_000)  # the echo engine says it again
    expect(page.locator("#answered-by")).to_contain_text("Answered by echo on this computer")
    page.emulate_media(color_scheme="dark")
    picture(page, "first-answer-dark")
    found = ask(desk.places.control, AskStatus())
    assert isinstance(found, WorkerStatus)
    assert (found.worker, found.connected) == ("under-the-desk", True)
    page.click("#onward")
    expect(page.locator("h1")).to_have_text("Settings")


def test_a_changed_setting_lands_in_the_file_and_in_the_worker_and_comments_stay(joined: Desk, page: Page) -> None:
    page.goto(joined.url + "?page=settings")
    slider = page.locator("#worker-max_ram")
    slider.focus()
    for _ in range(2):
        page.keyboard.press("ArrowLeft")
    expect(page.locator("#worker-max_ram-say")).to_have_text("Saved.")
    within(3, lambda: setting(joined, "worker.max_ram") == ("40%", str(joined.places.config)))
    text = joined.places.config.read_text()
    assert 'max_ram = "40%"' in text
    assert "# nobody sits here" in text
    page.locator("#worker-run_on_battery").click()
    within(3, lambda: setting(joined, "worker.run_on_battery")[0] == "false")
    expect(page.locator("#worker-run_on_battery-say")).to_have_text("Saved.")
    page.locator("#worker-run_on_battery").click()
    within(3, lambda: setting(joined, "worker.run_on_battery")[0] == "true")


def test_a_wrong_value_is_told_beside_its_field_and_changes_nothing(joined: Desk, page: Page) -> None:
    page.goto(joined.url + "?page=settings")
    before = joined.places.config.read_text()
    field = page.locator("#worker-disk_cap")
    field.fill("plenty")
    field.press("Tab")
    expect(page.locator("#worker-disk_cap-say")).to_contain_text("a size with its unit such as 100GB")
    expect(field).to_have_attribute("aria-invalid", "true")
    field.scroll_into_view_if_needed()
    picture(page, "settings-refused-light")
    assert joined.places.config.read_text() == before


def test_what_the_environment_says_wins_and_cannot_be_changed_here(joined: Desk, page: Page) -> None:
    page.goto(joined.url + "?page=settings")
    page.click("#more summary")
    field = page.locator("#worker-model_turn")
    expect(field).to_be_disabled()
    expect(page.locator("#worker-model_turn-say")).to_contain_text("Set by GOGRID_MODEL_TURN, which wins")


def test_hours_are_chosen_with_the_keyboard_alone(joined: Desk, page: Page) -> None:
    page.goto(joined.url + "?page=settings")
    page.get_by_label("Monday 0:00 to 1:00").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("End")
    page.keyboard.press("Space")
    within(3, lambda: setting(joined, "worker.schedule")[0] != "")
    value = setting(joined, "worker.schedule")[0]
    assert "tue 00:00-23:00" in value
    assert "mon,wed,thu,fri,sat,sun 00:00-24:00" in value
    again = page.get_by_label("Tuesday 23:00 to 24:00")
    expect(again).to_have_attribute("aria-pressed", "false")
    again.scroll_into_view_if_needed()
    picture(page, "settings-hours-light")
    again.focus()
    page.keyboard.press("Space")
    within(3, lambda: setting(joined, "worker.schedule")[0] == "")


def test_statistics_show_the_jobs_that_really_ran(joined: Desk, page: Page) -> None:
    within(10, lambda: ask(joined.places.control, AskStatus()).readiness.value == "ready")  # type: ignore[union-attr]
    before = ask(joined.places.control, AskStatus())
    assert isinstance(before, WorkerStatus)
    with openai.OpenAI(
        base_url=f"{joined.grid.endpoint.plain_url}/v1", api_key=joined.grid.admin_key, max_retries=0
    ) as client:
        for _ in range(3):
            client.chat.completions.create(model="echo", messages=[{"role": "user", "content": "one two three four"}])
    page.goto(joined.url + "?page=statistics")
    expect(page.locator("#jobs-done")).to_have_text(str(before.jobs_done + 3))
    assert int(page.locator("#tokens").inner_text().replace(",", "")) >= 12
    page.click("#numbers summary")
    expect(page.locator("#numbers tbody tr").first).to_be_visible()
    picture(page, "statistics-light")
    page.get_by_label("Week").check()
    expect(page.locator("#numbers tbody tr").first).to_contain_text(str(before.jobs_done + 3))
    page.emulate_media(color_scheme="dark")
    picture(page, "statistics-week-dark")


def test_logs_are_followed_and_filtered(joined: Desk, page: Page) -> None:
    page.goto(joined.url + "?page=logs")
    expect(page.locator("#log-file")).to_have_value("worker.log")
    expect(page.locator("#log")).to_contain_text("device:")
    picture(page, "logs-light")
    with (joined.places.logs / "worker.log").open("a") as file:
        file.write("2026-11-22 11:00:00,000 WARNING somewhere: the fans are <b>loud</b>\n")
    expect(page.locator("#log .warning").last).to_have_text(
        "2026-11-22 11:00:00,000 WARNING somewhere: the fans are <b>loud</b>"
    )
    page.fill("#log-filter", "the fans")
    expect(page.locator("#log > div")).to_have_count(1)


def test_an_answer_can_be_seen_again_whenever_its_owner_likes(joined: Desk, page: Page) -> None:
    page.goto(joined.url + "?page=join")
    page.click("#try")
    expect(page.locator("#answered-by")).to_contain_text("Answered by echo on this computer")


def test_pause_and_resume_are_one_press_away(joined: Desk, page: Page) -> None:
    page.goto(joined.url + "?page=statistics")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#state-word")).to_have_text("Paused")
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#state-word")).to_have_text("Ready")


def test_a_join_that_fails_leaves_the_worker_where_it_was_and_one_that_works_moves_it(joined: Desk, page: Page) -> None:
    """Both while it runs, from the window alone; here to the same coordinator, as another worker."""
    fresh = parse(joined.token()["token"], 0)
    unknown = mint(fresh.pin, fresh.addresses, fresh.expires_at)
    before = ask(joined.places.control, AskStatus())
    assert isinstance(before, WorkerStatus)
    with joined.grid.client() as client:
        [first] = [worker for worker in client.workers() if worker.connected]
    page.goto(joined.url + "?page=join")
    expect(page.locator("#already")).to_contain_text("Another token replaces that")
    page.fill("#token", unknown.text())
    page.click("#join")
    expect(page.locator("#token-problem")).to_contain_text("This machine has joined")
    within(20, lambda: connected(joined))
    with joined.grid.client() as client:
        assert [worker.id for worker in client.workers() if worker.connected] == [first.id]
    page.fill("#token", fresh.text())
    page.fill("#worker-name", "on-the-shelf")
    page.click("#join")
    expect(page.locator("#answer")).not_to_be_empty(timeout=30_000)
    after = ask(joined.places.control, AskStatus())
    assert isinstance(after, WorkerStatus)
    assert (after.worker, after.connected, after.pid != before.pid) == ("on-the-shelf", True, True)
