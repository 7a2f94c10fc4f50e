"""The one way from the page to the worker: calls that are refused, what is asked for those that are not."""

import json
import logging

import pytest

from gogrid.addresses import Address
from gogrid.errors import GoGridError
from gogrid.jointoken import JoinToken, mint
from gogrid.pinwords import pin_words
from runner.control_messages import AskChange, AskPause, AskResume, AskStatistics, AskStatus, AskTest
from tests.fakes.window_doors import FakeApp, FakeErrands, FakeWorker, doors
from tray.instance_messages import AppAsk, AppState, AskApp, HoldRunner, SetAutostart, StartRunner
from tray.window.bridge.dispatch import Dispatcher
from tray.window.bridge.doors import JoinedAs

NOW = 2_000_000_000.0
PIN = bytes(range(32))
MADE = mint(PIN, (Address("10.0.0.5", 8443), Address("grid.example", 8443)), int(NOW) + 60)
TOKEN = MADE.text()


class Desk:
    def __init__(self) -> None:
        self.worker, self.app, self.errands = FakeWorker(), FakeApp(), FakeErrands()
        self.dispatcher = Dispatcher(doors(self.worker, self.app, self.errands), lambda: NOW)

    def call(self, type: str, **about: object) -> dict[str, object]:
        answer: dict[str, object] = json.loads(self.dispatcher.answer(json.dumps({"type": type, **about})))
        return answer


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", '{"type":"Quit"}', '{"type":"Look","more":1}', '{"type":"Pause","seconds":"long"}',
        '{"type":"ReadStatistics","span":"year"}', '{"type":"OpenFolder","which":"/etc"}',
        '{"type":"Change","setting":1}', '{"type":"Join"}', "\ud800",
    ],
)  # fmt: skip
def test_what_is_no_call_is_refused_before_anybody_is_asked(desk: Desk, text: str) -> None:
    answer = json.loads(desk.dispatcher.answer(text))
    assert answer["type"] == "Failed"
    assert (desk.worker.asked, desk.app.asked, desk.errands.tokens) == ([], [], [])


def test_bytes_that_are_no_text_are_refused(desk: Desk) -> None:
    assert json.loads(desk.dispatcher.answer(b'{"type":"\xff"}'))["type"] == "Failed"


def test_a_token_is_read_without_asking_anybody(desk: Desk) -> None:
    answer = desk.call("ReadToken", token=f"  {TOKEN}\n")
    assert answer["addresses"] == ["10.0.0.5:8443", "grid.example:8443"]
    assert (answer["words"], answer["pin"]) == (pin_words(PIN), PIN.hex())
    assert (desk.worker.asked, desk.app.asked, desk.errands.tokens) == ([], [], [])


@pytest.mark.parametrize("call", ["ReadToken", "AskName", "Join"])
def test_a_token_that_is_no_good_goes_nowhere(desk: Desk, call: str) -> None:
    for token in ("", "hello", TOKEN[:-3], mint(PIN, (Address("h", 1),), int(NOW) - 1).text()):
        answer = desk.call(call, token=token)
        assert answer["type"] == "Failed"
        assert "token" in str(answer["reason"])
    assert desk.errands.tokens == []


def test_joining_starts_the_runner_and_no_reply_holds_the_token(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    answer = desk.call("Join", token=TOKEN, name=" under-the-desk ")
    assert desk.errands.tokens == [TOKEN]
    assert (answer["type"], answer["worker"], answer["started"]) == ("Joined", "under-the-desk", True)
    assert StartRunner() in desk.app.asked
    assert TOKEN not in json.dumps(answer) + caplog.text


def test_a_failure_in_itself_tells_neither_the_page_nor_the_log_a_token(
    desk: Desk, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(token: str, name: str) -> JoinedAs:
        raise ZeroDivisionError

    monkeypatch.setattr(desk.errands, "join", broken)
    answer = desk.call("Join", token=TOKEN)
    assert answer["type"] == "Failed"
    assert "ZeroDivisionError" in caplog.text
    assert TOKEN not in json.dumps(answer) + caplog.text


def test_a_runner_that_works_for_another_coordinator_ends_before_its_folder_is_used(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_before: list[AppAsk] = []

    def joining(token: str, name: str) -> JoinedAs:
        asked_before.extend(desk.app.asked)
        return JoinedAs("hub", "hub:8443", "den", False)

    monkeypatch.setattr(desk.errands, "join", joining)
    assert desk.call("Join", token=TOKEN)["started"] is True
    assert asked_before == [HoldRunner()]
    assert desk.app.asked == [HoldRunner(), StartRunner()]


def test_after_a_join_that_failed_the_worker_goes_on_for_the_coordinator_before(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(token: str, name: str) -> JoinedAs:
        raise GoGridError("This join token was used already.")

    monkeypatch.setattr(desk.errands, "join", refused)
    assert desk.call("Join", token=TOKEN) == {"type": "Failed", "reason": "This join token was used already."}
    assert desk.app.asked == [HoldRunner(), StartRunner()]
    desk.app.asked.clear()
    desk.errands.known = False
    desk.call("Join", token=TOKEN)
    assert desk.app.asked == [HoldRunner()]


def test_joined_without_an_app_says_how_to_start(desk: Desk) -> None:
    desk.app.there = False
    answer = desk.call("Join", token=TOKEN)
    assert (answer["type"], answer["started"]) == ("Joined", False)
    assert "gogrid-worker" in str(answer["note"])


def test_an_overview_needs_neither_app_nor_worker(desk: Desk) -> None:
    desk.app.there = desk.worker.runs = False
    assert desk.call("Look") | {"config": 0, "logs": 0} == {
        "type": "Overview", "app": None, "runner": None, "joined": True, "config": 0, "logs": 0,
    }  # fmt: skip
    desk.errands.known = False
    assert desk.call("Look")["joined"] is False
    desk.app.there, desk.app.state, desk.errands.known = True, AppState.NOT_JOINED, True
    assert desk.call("Look")["joined"] is False


def test_settings_are_the_workers_or_without_one_the_next_ones(desk: Desk) -> None:
    assert desk.call("Change", setting="worker.max_ram", value="40%") == {"type": "Well", "note": ""}
    assert AskChange(setting="worker.max_ram", value="40%") in desk.worker.asked
    refused = desk.call("Change", setting="worker.nothing", value="1")
    assert refused == {"type": "Failed", "reason": "There is no setting worker.nothing."}
    desk.worker.runs = False
    assert desk.call("ReadSettings")["type"] == "Settings"
    assert desk.call("Change", setting="worker.max_ram", value="30%")["note"] == "It counts when the worker starts."
    assert desk.errands.changed == [("worker.max_ram", "30%")]


def test_every_other_call_asks_the_right_one(desk: Desk) -> None:
    desk.call("Pause", seconds=3600)
    desk.call("Pause")
    desk.call("Resume")
    desk.call("Test", begin=True)
    desk.call("ReadStatistics", span="week")
    assert desk.worker.asked == [
        AskPause(until=NOW + 3600), AskPause(), AskResume(), AskTest(begin=True), AskStatistics(span="week"),
    ]  # fmt: skip
    desk.call("StartAtLogin", on=True)
    desk.call("StartWorker", anew=True)
    assert desk.app.asked == [SetAutostart(on=True), StartRunner(anew=True)]
    assert desk.call("Look")["runner"] is not None
    assert (desk.app.asked[-1], desk.worker.asked[-1]) == (AskApp(), AskStatus())


def test_a_coordinators_name_comes_from_the_errand_that_proves_it(desk: Desk) -> None:
    assert desk.call("AskName", token=TOKEN) == {"type": "Named", "name": "studio grid"}

    class Other(FakeErrands):
        def coordinator_name(self, token: JoinToken) -> str:
            assert token.pin == PIN
            raise GoGridError("Somebody else answers there.")

    dispatcher = Dispatcher(doors(errands=Other()), lambda: NOW)
    answer = json.loads(dispatcher.answer(json.dumps({"type": "AskName", "token": TOKEN})))
    assert answer == {"type": "Failed", "reason": "Somebody else answers there."}
