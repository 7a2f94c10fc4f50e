"""The options `--config` and `--data` of every program of a worker, and the places that they name on this machine."""

import argparse
import os
import sys
from pathlib import Path

from gogrid.places import WorkerPlaces, worker_places


def add_place_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, help="config.toml to use")
    parser.add_argument("--data", type=Path, help="folder for state, models and logs")


def named_places(options: argparse.Namespace) -> WorkerPlaces:
    """Of this user and environment."""
    return worker_places(
        config=options.config,
        data=options.data,
        environment=os.environ,
        platform=sys.platform,
        home=Path.home(),
        user=this_user(),
    )


def place_words(places: WorkerPlaces) -> tuple[str, ...]:
    """The same options, for another program that is to use these places."""
    return "--config", str(places.config), "--data", str(places.data)


def this_user() -> int:
    """The number of this process' user; 0 where users have none."""
    return os.getuid() if hasattr(os, "getuid") else 0
