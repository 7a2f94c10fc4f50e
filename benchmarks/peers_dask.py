"""No-op jobs through Dask distributed. Runs in the peers' own environment and imports nothing of ours.

`python peers_dask.py BULK CLIENTS EACH SINGLE`: prints one JSON object with jobs per second and the median latency. Two
worker processes of one thread; nothing is kept on disk, which Dask does not offer.
"""

import json
import sys
import threading
import time
from statistics import median

import dask
from distributed import Client, LocalCluster

dask.config.set({"distributed.comm.timeouts.connect": "60s"})  # a busy machine starts processes slowly


def noop(number: int) -> int:
    return number


def bulk(client: Client, count: int) -> float:
    began = time.perf_counter()
    client.gather(client.map(noop, range(count), pure=False))
    return count / (time.perf_counter() - began)


def by_clients(client: Client, clients: int, each: int) -> float:
    def run() -> None:
        for number in range(each):
            client.submit(noop, number, pure=False).result()

    threads = [threading.Thread(target=run) for _ in range(clients)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return clients * each / (time.perf_counter() - began)


def single(client: Client, count: int) -> float:
    took = []
    for number in range(count):
        began = time.perf_counter()
        client.submit(noop, number, pure=False).result()
        took.append(time.perf_counter() - began)
    return median(took) * 1000


def started() -> LocalCluster:
    """Dask's own start of its workers fails now and then on a busy machine."""
    for _ in range(4):
        try:
            return LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None)
        except RuntimeError as error:
            last = error
    raise last


def main() -> None:
    bulk_jobs, clients, each, singles = map(int, sys.argv[1:])
    with started() as cluster, Client(cluster) as client:
        bulk(client, 200)
        answer = {
            "bulk_per_s": bulk(client, bulk_jobs),
            "clients_per_s": by_clients(client, clients, each),
            "single_ms": single(client, singles),
        }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
