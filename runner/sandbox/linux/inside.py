"""The first code that runs in a sandbox: limit this process, lock the file system, then become the module asked for.

Run as `python -I -S -B inside.py ORDERS MODULE [ARGUMENT…]`, or with `-` for the orders, which then come over standard
input together with the arguments, before whatever the module reads. It is the sandbox's process 1: nothing inside can
kill it, and when it ends the kernel ends everything else. Any refusal of the kernel is fatal; only a missing Landlock
is not, because the self-test at start has told about that. Kept light: every millisecond here is paid by every job.
"""

import os
import sys


def main() -> None:
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))))
    sys.path.extend(path for path in os.environ.get("PYTHONPATH", "").split(":") if path)
    from runner.sandbox.linux import kernel
    from runner.sandbox.linux.orders import LENGTH_DIGITS, decode_orders, heard

    first, module, *arguments = sys.argv[1:]
    if first == "-":
        orders, arguments = heard(_exactly(int(_exactly(LENGTH_DIGITS), 16)))
    else:
        orders = decode_orders(first)
    kernel.no_new_privileges()
    orders.limit_self()
    if orders.landlock:
        kernel.restrict_files(orders.readable, orders.writable)
    _become(module, arguments)


def _exactly(size: int) -> bytes:
    """So many bytes of standard input, and no more, because the module may read the rest."""
    data = b""
    while len(data) < size:
        piece = os.read(0, size - len(data))
        if not piece:
            raise SystemExit("The sandbox was never told what to run.")
        data += piece
    return data


def _become(module: str, arguments: list[str]) -> None:
    """What `runpy.run_module(module, alter_sys=True)` does, without its imports."""
    from importlib.machinery import PathFinder

    package = module.rpartition(".")[0]
    spec = PathFinder.find_spec(module, __import__(package, fromlist=("",)).__path__ if package else None)
    if spec is not None and spec.submodule_search_locations is not None:
        inner = __import__(module, fromlist=("",)).__path__
        spec = PathFinder.find_spec(f"{module}.__main__", inner)
    load = getattr(spec.loader, "get_code", None) if spec is not None else None
    if spec is None or load is None:
        raise ModuleNotFoundError(f"There is no module {module!r} to run.", name=module)
    main = type(sys)("__main__")
    main.__spec__, main.__loader__, main.__package__ = spec, spec.loader, spec.parent
    main.__file__ = spec.origin
    sys.modules["__main__"] = main
    sys.argv[:] = [spec.origin or module, *arguments]
    exec(load(spec.name), main.__dict__)  # noqa: S102


if __name__ == "__main__":
    main()
