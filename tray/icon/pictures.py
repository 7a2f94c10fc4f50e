"""The pictures of the icon, drawn: each state in its colour and its shape, for dark and light panels, in any size.

Shape tells what colour does, for eyes that see no red or green: a full grid works or is ready, an open one belongs to
nobody yet, two bars pause, an exclamation mark is trouble.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from tray.instance_messages import AppState

SIZES = (16, 20, 22, 24, 32, 40, 48, 64, 128, 256)
"""Pixels: what panels, menus and launchers of the three systems ask for."""
ICNS_SIZE = 1024
_FINER = 8
"""Drawn so much larger, then made smaller: round edges at 16 pixels."""

Colour = tuple[int, int, int, int]
Canvas = ImageDraw.ImageDraw


@dataclass(frozen=True, slots=True)
class Palette:
    """Of one state."""

    on_dark: Colour
    on_light: Colour


_GREY = Palette((190, 194, 200, 255), (96, 102, 112, 255))
PALETTES: Mapping[AppState, Palette] = {
    AppState.STARTING: _GREY,
    AppState.READY: Palette((62, 207, 120, 255), (22, 140, 72, 255)),
    AppState.WORKING: Palette((74, 163, 255, 255), (20, 100, 210, 255)),
    AppState.PAUSED: Palette((255, 190, 60, 255), (190, 120, 0, 255)),
    AppState.TROUBLE: Palette((255, 96, 84, 255), (200, 40, 32, 255)),
    AppState.NOT_JOINED: _GREY,
}
_BRAND: Colour = (24, 32, 48, 255)


def picture(state: AppState, size: int, *, dark: bool) -> Image.Image:
    """RGBA, `size` pixels wide and high.

    Args:
        dark: for a dark panel.
    """
    palette = PALETTES[state]
    large = Image.new("RGBA", (size * _FINER, size * _FINER))
    _SHAPES[state](ImageDraw.Draw(large), size * _FINER, palette.on_dark if dark else palette.on_light)
    return large.resize((size, size), Image.Resampling.LANCZOS)


def app_picture(size: int) -> Image.Image:
    """The program's own icon, for launchers, installers and windows: the grid on a dark tile. RGBA."""
    large = Image.new("RGBA", (size * _FINER if size <= 256 else size * 2,) * 2)
    whole = large.width
    canvas = ImageDraw.Draw(large)
    canvas.rounded_rectangle((0, 0, whole - 1, whole - 1), whole * 0.22, fill=_BRAND)
    cells = (AppState.READY, AppState.WORKING, AppState.WORKING, AppState.PAUSED)
    for cell, box in zip(cells, _boxes(whole * 0.62, whole * 0.19), strict=True):
        canvas.rounded_rectangle(box, whole * 0.07, fill=PALETTES[cell].on_dark)
    return large.resize((size, size), Image.Resampling.LANCZOS)


def export(folder: Path) -> tuple[Path, ...]:
    """Write `gogrid.ico`, `gogrid.icns` and `gogrid-SIZE.png` for packaging; the files written. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {size: app_picture(size) for size in SIZES}
    ico, icns = folder / "gogrid.ico", folder / "gogrid.icns"
    own = [picture for size, picture in drawn.items() if size != SIZES[-1]]
    drawn[SIZES[-1]].save(ico, sizes=[(size, size) for size in SIZES], append_images=own)
    app_picture(ICNS_SIZE).save(icns, append_images=[drawn[size] for size in (32, 64, 128, 256)])
    pngs = []
    for size, image in drawn.items():
        pngs.append(folder / f"gogrid-{size}.png")
        image.save(pngs[-1])
    return ico, icns, *pngs


def _boxes(whole: float, offset: float = 0.0) -> list[tuple[float, float, float, float]]:
    """Of the four squares: left, top, right, bottom."""
    gap = whole / 8
    side = (whole - gap) / 2
    starts = (offset, offset + side + gap)
    return [(x, y, x + side, y + side) for y in starts for x in starts]


def _grid(canvas: Canvas, whole: int, colour: Colour) -> None:
    margin = whole / 16
    for box in _boxes(whole - 2 * margin, margin):
        canvas.rounded_rectangle(box, whole / 10, fill=colour)


def _busy_grid(canvas: Canvas, whole: int, colour: Colour) -> None:
    """One square is a disc: it moves."""
    margin = whole / 16
    *squares, last = _boxes(whole - 2 * margin, margin)
    for box in squares:
        canvas.rounded_rectangle(box, whole / 10, fill=colour)
    canvas.ellipse(last, fill=colour)


def _open_grid(canvas: Canvas, whole: int, colour: Colour) -> None:
    margin = whole / 16
    for box in _boxes(whole - 2 * margin, margin):
        canvas.rounded_rectangle(box, whole / 10, outline=colour, width=max(whole // 14, 1))


def _half_grid(canvas: Canvas, whole: int, colour: Colour) -> None:
    margin = whole / 16
    for number, box in enumerate(_boxes(whole - 2 * margin, margin)):
        if number in (0, 3):
            canvas.rounded_rectangle(box, whole / 10, fill=colour)
        else:
            canvas.rounded_rectangle(box, whole / 10, outline=colour, width=max(whole // 14, 1))


def _bars(canvas: Canvas, whole: int, colour: Colour) -> None:
    for left in (0.16, 0.58):
        canvas.rounded_rectangle(
            (whole * left, whole * 0.1, whole * (left + 0.26), whole * 0.9), whole / 12, fill=colour
        )


def _mark(canvas: Canvas, whole: int, colour: Colour) -> None:
    canvas.ellipse((whole * 0.04, whole * 0.04, whole * 0.96, whole * 0.96), fill=colour)
    hole: Colour = (0, 0, 0, 0)
    canvas.rounded_rectangle((whole * 0.42, whole * 0.2, whole * 0.58, whole * 0.58), whole / 20, fill=hole)
    canvas.ellipse((whole * 0.41, whole * 0.64, whole * 0.59, whole * 0.82), fill=hole)


_SHAPES: Mapping[AppState, Callable[[Canvas, int, Colour], None]] = {
    AppState.STARTING: _half_grid,
    AppState.READY: _grid,
    AppState.WORKING: _busy_grid,
    AppState.PAUSED: _bars,
    AppState.TROUBLE: _mark,
    AppState.NOT_JOINED: _open_grid,
}


def main(arguments: Sequence[str]) -> int:
    """`python -m tray.icon.pictures FOLDER`: `export`."""
    if len(arguments) != 1:
        print("usage: python -m tray.icon.pictures FOLDER", file=sys.stderr)
        return 2
    for path in export(Path(arguments[0])):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
