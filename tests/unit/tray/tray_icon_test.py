"""The app's side of the icon with a real, scripted child; the pictures; the app's socket."""

import asyncio
import sys
from pathlib import Path

import pytest

from gogrid.local_socket import ask_line
from runner.control_messages import Done, Refused, encode_line
from tray.app.icon_process import AppIcon
from tray.icon.messages import Action, Chosen, FromIcon, Item, Kind, NoTray, Show, Shown
from tray.instance import NoAppError, app_server, ask_app
from tray.instance_messages import AppAnswer, AppAsk, AppState, Quit, SetAutostart, ShowWindow

SHOW = Show(state=AppState.READY, tooltip="GoGrid: ready", menu=(Item(label="Quit", action=Action(Kind.QUIT)),))
CHILD = """
import sys
with open(sys.argv[1], 'a') as f: f.write('x')
n = len(open(sys.argv[1]).read())
def say(line): print(line, flush=True)
"""


def icon(tmp_path: Path, body: str, heard: list[FromIcon], said: list[str], retry_s: tuple[float, ...]) -> AppIcon:
    command = (sys.executable, "-c", CHILD + body, str(tmp_path / "lives"))
    return AppIcon(command, heard.append, said.append, retry_s)


async def until(condition: object) -> None:
    async with asyncio.timeout(10):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.01)


async def ended(keeping: asyncio.Task[None]) -> None:
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


async def test_an_icon_is_told_what_to_show_and_heard_when_clicked(tmp_path: Path) -> None:
    body = """
say('{"type":"Shown","by":"test"}')
say('noise of a library')
for line in sys.stdin:
    say('{"type":"Chosen","action":{"kind":"quit","value":""}}') if 'ready' in line else None
"""
    heard: list[FromIcon] = []
    said: list[str] = []
    made = icon(tmp_path, body, heard, said, (9.0,))
    made.show(SHOW)
    keeping = asyncio.create_task(made.keep())
    await until(lambda: len(heard) == 2)
    assert heard == [Shown(by="test"), Chosen(action=Action(Kind.QUIT))]
    assert made.shown
    await ended(keeping)
    assert said == ["the tray icon is shown by test"]


async def test_an_icon_that_crashes_comes_back_and_shows_the_same(tmp_path: Path) -> None:
    body = """
line = sys.stdin.readline()
say('{"type":"Shown","by":"%d %s"}' % (n, 'ready' in line))
if n == 1: print('the display is gone', file=sys.stderr); sys.exit(1)
sys.stdin.read()
"""
    heard: list[FromIcon] = []
    said: list[str] = []
    made = icon(tmp_path, body, heard, said, (0.01, 9.0))
    made.show(SHOW)
    keeping = asyncio.create_task(made.keep())
    await until(lambda: len(heard) == 2)
    assert heard == [Shown(by="1 True"), Shown(by="2 True")]
    await ended(keeping)
    assert "the tray icon is gone (the display is gone); the worker goes on" in said


async def test_an_icon_that_crashes_again_and_again_still_comes_back(tmp_path: Path) -> None:
    heard: list[FromIcon] = []
    body = """say('{"type":"Shown","by":"panel"}'); sys.exit(1)"""
    made = icon(tmp_path, body, heard, [], (0.01, 0.02))
    keeping = asyncio.create_task(made.keep())
    await until(lambda: len(heard) == 6)
    await ended(keeping)


async def test_where_no_icon_can_be_shown_that_is_said_once_and_looked_for_only_a_few_times(tmp_path: Path) -> None:
    body = """say('{"type":"NoTray","reason":"There is no session bus."}'); sys.exit(3)"""
    heard: list[FromIcon] = []
    said: list[str] = []
    made = icon(tmp_path, body, heard, said, (0.01, 0.01))
    keeping = asyncio.create_task(made.keep())
    await until(lambda: len(heard) == 3)
    await asyncio.sleep(0.1)  # longer than any further wait
    assert heard == [NoTray(reason="There is no session bus.")] * 3
    assert len(said) == 1
    assert "There is no session bus." in said[0]
    made.try_again()
    await until(lambda: len(heard) == 4)
    await ended(keeping)


async def test_an_icon_that_does_not_end_is_killed(tmp_path: Path) -> None:
    heard: list[FromIcon] = []
    made = icon(tmp_path, """say('{"type":"Shown","by":"test"}')\nimport time; time.sleep(60)""", heard, [], (9.0,))
    keeping = asyncio.create_task(made.keep())
    await until(lambda: heard)
    async with asyncio.timeout(8):
        await ended(keeping)


# --- the pictures ---


def test_every_state_has_a_picture_of_its_own_in_every_size_for_dark_and_light() -> None:
    pytest.importorskip("PIL")
    from tray.icon.pictures import PALETTES, SIZES, picture

    for dark in (True, False):
        for size in SIZES:
            drawn = {state: picture(state, size, dark=dark) for state in AppState}
            assert all(image.size == (size, size) and image.mode == "RGBA" for image in drawn.values())
            assert len({image.tobytes() for image in drawn.values()}) == len(AppState)
    for state, palette in PALETTES.items():
        assert palette.on_dark in {colour for _, colour in picture(state, 48, dark=True).getcolors(1 << 16) or ()}


def test_states_differ_in_shape_and_not_only_in_colour() -> None:
    pytest.importorskip("PIL")
    from tray.icon.pictures import picture

    shapes = {state: picture(state, 22, dark=True).getchannel("A").tobytes() for state in AppState}
    assert len(set(shapes.values())) == len(AppState)


def test_the_program_s_own_icon_is_exported_for_three_systems(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    from PIL import Image

    from tray.icon.pictures import SIZES, export

    ico, icns, *pngs = export(tmp_path / "made")
    with Image.open(ico) as image:
        assert image.info["sizes"] == {(size, size) for size in SIZES}
    with Image.open(icns) as image:
        assert max(image.info["sizes"])[0] >= 512
    assert [path.name for path in pngs] == [f"gogrid-{size}.png" for size in SIZES]


# --- the app's socket ---


async def test_the_app_is_asked_over_its_socket_and_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    asked: list[AppAsk] = []

    async def answer(question: AppAsk) -> AppAnswer:
        asked.append(question)
        return Refused(reason="no") if isinstance(question, SetAutostart) else Done()

    path = tmp_path / "app.sock"
    server = app_server(path, answer)
    await server.open()
    try:
        assert path.stat().st_mode & 0o777 == 0o600
        assert await asyncio.to_thread(ask_app, path, ShowWindow(page="logs")) == Done()
        assert await asyncio.to_thread(ask_app, path, SetAutostart(on=True)) == Refused(reason="no")
        line = await asyncio.to_thread(ask_line, path, b'{"type":"Nonsense"}\n', max_line=1 << 20)
        assert b"Not a question this app knows" in line
    finally:
        await server.close()
    assert asked == [ShowWindow(page="logs"), SetAutostart(on=True)]
    with pytest.raises(NoAppError, match="No GoGrid app is running"):
        ask_app(path, Quit())


def test_messages_survive_their_way() -> None:
    from tray.icon.messages import decode_from_icon, decode_to_icon

    assert decode_to_icon(encode_line(SHOW)) == SHOW
    chosen = Chosen(action=Action(Kind.PAUSE, "hour"))
    assert decode_from_icon(encode_line(chosen)) == chosen
