"""Who is not known is looked for once more, and however many are not known, the store is looked at seldom."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from coordinator.directory import Directory
from coordinator.errors import StoreUnavailableError
from coordinator.http.app import create_app
from coordinator.records import KeyRecord, Scope
from coordinator.second_look import SPACING_S, SecondLook
from coordinator.store.sqlite_store import SqliteStore
from gogrid.apikey import ApiKey, new_api_key
from tests.fakes.backend import Backend

FLOOD = 200


class Beat:
    """A clock that stands still; who sleeps is held until `go_on`."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sleeping = asyncio.Event()
        self._held = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.sleeping.set()
        await self._held.wait()
        self.now += seconds
        self._held.clear()
        self.sleeping.clear()

    def go_on(self) -> None:
        self._held.set()


class CountedStore(SqliteStore):
    """A store that counts who looks at it."""

    looks = 0
    broken = False
    held: asyncio.Event | None = None

    async def changed_elsewhere(self) -> bool:
        self.looks += 1
        if self.broken:
            raise StoreUnavailableError("The database does not answer.")
        if self.held is not None:
            await self.held.wait()
        return await super().changed_elsewhere()


class Shop:
    """A coordinator's HTTP door over a real store, and the admin's own handle on that store beside it."""

    def __init__(self, admin: SqliteStore, store: CountedStore, directory: Directory, folder: Path) -> None:
        self.admin, self.store, self.directory, self.beat = admin, store, directory, Beat()
        look = SecondLook(directory.refresh, lambda: self.beat.now, self.beat.sleep)
        services = replace(Backend(folder).services, keyring=directory.keyring, look_again=look.wait, clock=lambda: 5.0)
        app: Any = create_app(services)
        transport = httpx.ASGITransport(app)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://test")
        store.looks = 0

    async def add_key(self) -> ApiKey:
        key = new_api_key()
        record = KeyRecord(key.id, "ann", key.secret_sha256, frozenset({Scope.ADMIN}), 1.0, None, False)
        await self.admin.add_key(record)
        return key

    async def ask(self, key: ApiKey) -> int:
        reply = await self.http.get("/v1/models", headers={"authorization": f"Bearer {key.text}"})
        return reply.status_code


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    admin = await SqliteStore.open(tmp_path / "x.db")
    store = await CountedStore.open(tmp_path / "x.db")
    assert isinstance(store, CountedStore)
    made = Shop(admin, store, await Directory.load(store, lambda: 5.0), tmp_path)
    yield made
    await made.http.aclose()
    await store.close()
    await admin.close()


async def test_a_key_made_a_moment_ago_beside_the_coordinator_opens_the_door(shop: Shop) -> None:
    assert await shop.ask(await shop.add_key()) == 200
    assert shop.store.looks == 1


async def test_a_known_key_and_what_is_no_key_cost_no_look(shop: Shop) -> None:
    key = await shop.add_key()
    await shop.directory.refresh()
    before = shop.store.looks
    assert await shop.ask(key) == 200
    reply = await shop.http.get("/v1/models", headers={"authorization": "Bearer ggk_wrong"})
    assert reply.status_code == 401
    assert shop.store.looks == before


async def test_a_flood_of_unknown_keys_does_not_become_a_flood_of_looks_at_the_store(shop: Shop) -> None:
    assert await shop.ask(new_api_key()) == 401
    assert shop.store.looks == 1
    flood = [asyncio.create_task(shop.ask(new_api_key())) for _ in range(FLOOD)]
    await shop.beat.sleeping.wait()
    good = await shop.add_key()
    await shop.directory.refresh()
    looks = shop.store.looks
    assert await shop.ask(good) == 200  # while all of the flood waits
    assert not any(task.done() for task in flood)
    shop.beat.go_on()
    assert await asyncio.gather(*flood) == [401] * FLOOD
    assert shop.store.looks == looks + 1
    assert shop.beat.now == SPACING_S


async def test_who_comes_while_a_look_is_under_way_is_looked_for_by_the_next_one(shop: Shop) -> None:
    shop.store.held = asyncio.Event()
    first = asyncio.create_task(shop.ask(new_api_key()))
    while shop.store.looks == 0:
        await asyncio.sleep(0)
    late = asyncio.create_task(shop.ask(await shop.add_key()))
    for _ in range(50):
        await asyncio.sleep(0)
    shop.store.held.set()
    assert await first == 401
    await shop.beat.sleeping.wait()
    shop.beat.go_on()
    assert await late == 200


async def test_where_the_store_cannot_be_looked_at_nobody_unknown_gets_in_and_is_told_to_come_back(shop: Shop) -> None:
    known = await shop.add_key()
    await shop.directory.refresh()
    shop.store.broken = True
    reply = await shop.http.get("/v1/models", headers={"authorization": f"Bearer {new_api_key().text}"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "store_unavailable")
    assert reply.headers["retry-after"]
    assert await shop.ask(known) == 200


async def test_a_store_that_hangs_holds_nobody_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coordinator.second_look.PATIENCE_S", 0.0)
    never = asyncio.Event()
    look = SecondLook(lambda: _wait(never))
    with pytest.raises(StoreUnavailableError, match="try again"):
        await look.wait()


async def _wait(event: asyncio.Event) -> None:
    await event.wait()
