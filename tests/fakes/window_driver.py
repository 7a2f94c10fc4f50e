"""Shows the real window on a display of its own and takes its picture; run inside a session bus.

`python window_driver.py FOLDER`: prints one line of JSON for each page and leaves `FOLDER/window-PAGE.png`.
"""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import webview

from tests.fakes.window_doors import doors
from tray.window.bridge.dispatch import Dispatcher
from tray.window.shell import show_window

TOLD = "document.querySelector('h1')?.textContent + '|' + document.getElementById('state-word').textContent"


def main(folder: Path) -> None:
    def shown() -> None:
        threading.Thread(target=visit, daemon=True).start()

    def visit() -> None:
        window = webview.windows[0]
        for page in ("settings", "statistics"):
            window.run_js(f"window.gogridShow('{page}')")
            for _ in range(50):
                time.sleep(0.1)
                said = str(window.evaluate_js(TOLD))
                if not said.endswith("…"):
                    break
            time.sleep(1.5)  # until it is painted
            scrolled = window.evaluate_js("document.getElementById('content').scrollTop")
            print(json.dumps({"page": page, "said": said, "scrolled": scrolled}), flush=True)
            subprocess.run(["import", "-window", "root", folder / f"window-{page}.png"], check=True)
        window.destroy()

    show_window("join", Dispatcher(doors()), None, shown)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
