"""`python -m benchmarks.bare_process MODEL MAX_TOKENS`: a bare engine that answers how fast it was, line by line."""

import os
import sys

import msgspec

from benchmarks.bare import closed_loop, load
from benchmarks.inference import EACH, texts


def main() -> None:
    model, max_tokens = sys.argv[1], int(sys.argv[2])
    threads = os.cpu_count() or 1
    os.environ["OMP_NUM_THREADS"] = str(threads)
    engine = load("torch", model, threads)
    closed_loop(engine, texts(1), 8, 1)
    print("{}", flush=True)
    for line in sys.stdin:
        clients = int(line)
        run = closed_loop(engine, texts(clients * EACH), max_tokens, clients)
        print(msgspec.json.encode(run).decode(), flush=True)
    engine.close()


if __name__ == "__main__":
    main()
