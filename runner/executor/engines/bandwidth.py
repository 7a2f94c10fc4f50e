"""Run inside a sandbox by `bench`: how fast the device's memory is. `DEVICE THREADS` on the command line.

Prints one JSON number: bytes read and written each second while a large tensor is copied, the best of several times.
"""

import json
import os
import sys
import time

_BYTES = 256 << 20
_TIMES = 6


def main() -> None:
    import torch

    device, threads = torch.device(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(threads)
    source = torch.ones(_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    best = float("inf")
    for _ in range(_TIMES):
        _wait(device.type)
        began = time.perf_counter()
        target.copy_(source)
        _wait(device.type)
        best = min(best, time.perf_counter() - began)
    print(json.dumps(2 * _BYTES / best), flush=True)
    os._exit(0)  # nothing is left to be done, and a library's own end may take its time


def _wait(kind: str) -> None:
    """Until the device has done what it was told."""
    import torch

    if kind == "cuda":
        torch.cuda.synchronize()
    elif kind == "mps":
        torch.mps.synchronize()


if __name__ == "__main__":
    main()
