"""Run inside a sandbox by the self-test: start the NVIDIA driver as a program that computes does.

Prints `cuInit`'s answer and the number of GPUs, as one JSON list; the answer is -1 where there is no driver library.
"""

import ctypes
import json
import sys

_DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


def main() -> None:
    count = ctypes.c_int(0)
    try:
        driver = ctypes.CDLL(_DRIVER)
    except OSError:
        print("[-1, 0]")
        return
    answer = int(driver.cuInit(0))
    if answer == 0:
        answer = int(driver.cuDeviceGetCount(ctypes.byref(count)))
    print(json.dumps([answer, count.value]))


if __name__ == "__main__":
    main()
