"""Print the requirements of one extra of pyproject.toml, for installs that must not follow dependencies."""

import sys
import tomllib
from pathlib import Path


def main() -> int:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    if len(sys.argv) != 2 or sys.argv[1] not in extras:
        print(f"usage: extra.py {'|'.join(extras)}", file=sys.stderr)
        return 2
    print(*extras[sys.argv[1]])
    return 0


if __name__ == "__main__":
    sys.exit(main())
