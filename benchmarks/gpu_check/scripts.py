"""Scripts that run as Python jobs inside the sandbox; each prints one JSON object. Their first argument: the device."""

MATMUL = """
import ctypes, json, sys, time
import torch

device, size = sys.argv[1], int(sys.argv[2])
answer = ctypes.CDLL("libcuda.so.1").cuInit(0) if device == "cuda" else 0
a, b = torch.randn(size, size), torch.randn(size, size)
far = float((a.to(device) @ b.to(device)).cpu().sub(a @ b).abs().max())
x = torch.randn(size, size, device=device)
wait = torch.cuda.synchronize if device == "cuda" else lambda: None
x @ x
wait()
begun = time.perf_counter()
for _ in range(10):
    y = x @ x
wait()
seconds = (time.perf_counter() - begun) / 10
name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
print(json.dumps({"cuInit": answer, "name": name, "far": far, "tflops": 2 * size**3 / seconds / 1e12}))
"""

FRACTION = """
import json, sys
import torch

cap = int(sys.argv[2])
torch.cuda.set_per_process_memory_fraction(cap / torch.cuda.get_device_properties(0).total_memory)
torch.empty(cap // 2, dtype=torch.uint8, device="cuda")
try:
    torch.empty(cap * 3 // 2, dtype=torch.uint8, device="cuda")
    print(json.dumps({"refused": False}))
except torch.OutOfMemoryError:
    print(json.dumps({"refused": True}))
"""

HOG = """
import sys, time
import torch

held = []
while sum(map(len, held)) < int(sys.argv[2]):
    held.append(torch.ones(64 << 20, dtype=torch.uint8, device=sys.argv[1]))
    time.sleep(0.02)
print("{}", flush=True)
time.sleep(10)
"""
