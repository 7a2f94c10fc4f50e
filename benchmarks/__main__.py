"""`python -m benchmarks [NAME…]`: those named (`--help` lists them), or all."""

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks import (
    desktop,
    footprint,
    gateway,
    handover,
    inference,
    jobs,
    resume,
    sandbox,
    scale,
    updates,
    yield_to_owner,
)
from benchmarks.figures import markdown
from benchmarks.peers import PeerMissingError

_ALL = {
    "desktop": desktop.measure,
    "footprint": footprint.measure,
    "gateway": gateway.measure,
    "handover": handover.measure,
    "inference": inference.measure,
    "jobs": jobs.measure,
    "owner": yield_to_owner.measure,
    "resume": resume.measure,
    "sandbox": sandbox.measure,
    "scale": scale.measure,
    "updates": updates.measure,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*_ALL, []], help="which ones; all if none is named")
    names = parser.parse_args().names or list(_ALL)
    figures = []
    try:
        for name in names:
            with tempfile.TemporaryDirectory(prefix="gogrid-bench-") as folder:
                for figure in _ALL[name](Path(folder)):
                    print(f"{name}: {figure.row()}", file=sys.stderr, flush=True)
                    figures.append(figure)
    except PeerMissingError as error:
        print(error, file=sys.stderr)
        return 2
    print(markdown(figures))
    return 0 if all(figure.reached for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
