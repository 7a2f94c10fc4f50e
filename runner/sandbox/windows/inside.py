"""The first code that runs in a Windows sandbox: find the packages, then become the module asked for.

Run as `python -I -S -B inside.py MODULE [ARGUMENT…]`. It limits nothing: the Job Object and the token were on
this process before its first instruction.
"""

import os
import sys


def main() -> None:
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))))
    sys.path.extend(path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path)
    import runpy

    module = sys.argv[1]
    del sys.argv[0]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
