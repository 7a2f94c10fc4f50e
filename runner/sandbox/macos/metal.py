"""Run inside a sandbox that was granted a Mac's GPU: print how many Metal devices this process is given.

A device is only given to a process that may talk to the driver. That shaders compile is seen when torch first computes.
"""

import ctypes

_FRAMEWORKS = "/System/Library/Frameworks"


def main() -> None:
    ctypes.CDLL(f"{_FRAMEWORKS}/CoreGraphics.framework/CoreGraphics")  # without it Metal gives a program no device
    metal = ctypes.CDLL(f"{_FRAMEWORKS}/Metal.framework/Metal")
    metal.MTLCreateSystemDefaultDevice.restype = ctypes.c_void_p
    print(1 if metal.MTLCreateSystemDefaultDevice() else 0)


if __name__ == "__main__":
    main()
