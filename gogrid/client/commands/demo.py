"""`gogrid demo`: a coordinator, a worker and two real models on this machine; exit code 0 only if all of it was true.

Ctrl-C or a termination signal ends it at any point; no process and no file is left, unless `--keep` was given.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from gogrid.client.answers import Worker
from gogrid.client.client import GoGrid
from gogrid.client.commands.options import command
from gogrid.client.demo import steps
from gogrid.client.interrupts import as_ctrl_c
from gogrid.client.local_grid import LocalGrid
from gogrid.client.shell import Exit, Shell
from gogrid.client.tables import table

if TYPE_CHECKING:
    from gogrid.client.shell import Commands


def add(commands: "Commands") -> None:
    parser = command(commands, "demo", "try everything on this machine, in a temporary folder", run)
    parser.add_argument("--keep", action="store_true", help="leave it running until Ctrl-C")


def run(arguments: argparse.Namespace, shell: Shell) -> int:
    models = steps.model_sources()
    with (
        as_ctrl_c(),
        tempfile.TemporaryDirectory(prefix="gogrid-demo-") as name,
        LocalGrid(Path(name)) as grid,
    ):
        _Demo(grid, shell, stays=arguments.keep).run(models)
        if arguments.keep:
            shell.line("Running until Ctrl-C.")
            while True:
                time.sleep(3600)
    return Exit.DONE


class _Demo:
    def __init__(self, grid: LocalGrid, shell: Shell, *, stays: bool) -> None:
        self._grid = grid
        self._stays = stays
        self._shell = shell
        self._say: Callable[[str], None] = shell.line if not shell.json else lambda text: None
        self._stream: Callable[[str], None] = shell.text if not shell.json else lambda text: None

    def run(self, models: tuple[steps.ModelSource, ...]) -> None:
        grid = self._grid
        grid.init()
        ready_s = grid.start_coordinator()
        self._say(f"coordinator  {grid.endpoint.url}, ready in {ready_s:.1f} s, pin {grid.pin[:8]}")
        for model in models:
            grid.add_model(model.name, model.path)
            self._say(f"model        {model.name}")
        worker = grid.start_worker()
        self._say(f"worker       {worker.name} joined with a token")
        with grid.client() as client:
            self._answers(client, worker)

    def _answers(self, client: GoGrid, worker: Worker) -> None:
        self._say(
            f"\nchat         {steps.QUESTION}\n             (the worker fetches, converts and loads the model first)\n"
        )
        steps.check_answer(steps.chat(client, self._stream))
        warm = steps.chat(client, lambda text: None, "Write a short story about a lighthouse.", max_tokens=64)

        self._say(f"\n\nembeddings   {steps.QUERY}\n")
        for similarity, sentence in steps.rank(client):
            self._say(f"  {similarity:+.3f}  {sentence}")

        self._say("\npython job   a script that tries to get out of its sandbox\n")
        steps.prove_sandbox(
            client, lambda text: self._stream("  " + text.replace("\n", "\n  ").rstrip(" ")), self._grid.folder / "out"
        )
        self._summary(worker, warm)

    def _summary(self, worker: Worker, warm: steps.ChatFigures) -> None:
        device = next((device for device in worker.devices if device.usable), None)
        figures = {
            "worker": worker.name,
            "device": f"{device.name}: {device.why}" if device is not None else "none",
            "sandbox": worker.sandbox,
            "time to first token": f"{warm.first_s * 1000:.0f} ms",
            "tokens per second": f"{warm.tokens_per_s:.1f}",
        }
        if self._shell.json:
            self._shell.value(figures)
            return
        self._say("\n" + table(("what", "this machine"), tuple(figures.items())))
        self._say("\n" + invitation(self._grid.endpoint.plain_url, self._grid.admin_key, stays=self._stays))


def invitation(plain_url: str, key: str, *, stays: bool) -> str:
    """How to point another program at the demo; `stays`: whether it is left running."""
    how = "" if stays else " (leave it running for that: gogrid demo --keep, or make demo KEEP=1)"
    return f"Any OpenAI client{how}:\n  OPENAI_BASE_URL={plain_url}/v1 OPENAI_API_KEY={key}"
