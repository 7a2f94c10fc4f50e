"""Say beside the programs of a frozen app which release they are, and whom they believe.

`python packaging/app/stamp.py APP --seq N --root-keys FILE`: for an app that was frozen without; `freeze.py` does the
same at once. A stamped app updates itself, any other does not.
"""

import argparse
import json
import os
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(ROOT)]

from commit import NO_TIME, commit_time  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("app", type=Path, help="the folder with the programs")
    parser.add_argument("--seq", type=int, required=True, help="its release_seq")
    parser.add_argument("--channel", default="stable")
    parser.add_argument("--root-keys", type=Path, required=True, help="root-keys.json")
    options = parser.parse_args()
    stamp(options.app, options.channel, options.seq, options.root_keys)
    return 0


def stamp(app: Path, channel: str, seq: int, root_keys: Path) -> None:
    import gogrid
    from updates.client.layout import ANCHORS_FILE, COPY_FILE
    from updates.engine_pack.system import this_system
    from updates.trust.anchors import parse_anchors
    from updates.trust.documents import WORKER_APP

    parse_anchors(root_keys.read_bytes())
    shutil.copyfile(root_keys, app / ANCHORS_FILE)
    copy = {
        "app": WORKER_APP,
        "channel": channel,
        "target": this_system(),
        "version": gogrid.__version__,
        "seq": seq,
        "python_abi": f"cp{sys.version_info.major}{sys.version_info.minor}",
    }
    built = os.environ.get("SOURCE_DATE_EPOCH") or commit_time()
    if built != NO_TIME:
        copy["built"] = datetime.fromtimestamp(int(built), UTC).isoformat()
    (app / COPY_FILE).write_text(json.dumps(copy, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
