"""The first code that runs in a sandbox: limit this process, lock the file system, then become the module asked for.

Run as `python -I -S -B inside.py ORDERS MODULE [ARGUMENT…]`, or with `-` for the orders, which then come over standard
input together with the arguments, before whatever the module reads. It is the sandbox's process 1: nothing inside can
kill it, and when it ends the kernel ends everything else. Any refusal of the kernel is fatal; only a missing Landlock is not,
because the self-test at start has told about that. Kept light: every millisecond here is paid by every job.
"""

import os
import sys


def main() -> None:
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    sys.path.extend(path for path in os.environ.get("PYTHONPATH", "").split(":") if path)
    from runner.sandbox import kernel
    from runner.sandbox.orders import decode_orders, listen

    first, module, *arguments = sys.argv[1:]
    if first == "-":
        orders, arguments = listen(0)
    else:
        orders = decode_orders(first)
    kernel.no_new_privileges()
    orders.limit_self()
    if orders.landlock:
        kernel.restrict_files(orders.readable, orders.writable)
    _become(module, arguments)


def _become(module: str, arguments: list[str]) -> None:
    import runpy

    sys.argv[:] = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
