"""Attacks on who may be a worker, against a real coordinator on loopback."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from coordinator.records import WorkerStatus
from gogrid.addresses import Address
from gogrid.errors import IdentityError, TokenError
from gogrid.ids import JobId
from gogrid.jointoken import JoinToken, mint, parse
from gogrid.protocol import worker_session
from gogrid.protocol.messages import Auth, Join
from gogrid.quic.bounded import BoundedQuicConnection
from runner.errors import LinkError
from runner.link import coordinator_link
from runner.link.coordinator_link import CoordinatorLink, Credentials, join
from tests.fakes.quic_grid import WorkerNotes, coordinator, wait_until, worker


async def test_wrong_pin_sends_no_application_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written to any stream, and nothing arrives on any."""
    written: list[bytes] = []
    plain = BoundedQuicConnection.send_stream_data

    def watched(self: BoundedQuicConnection, stream_id: int, data: bytes, end_stream: bool = False) -> None:
        if self.configuration.is_client:
            written.append(data)
        plain(self, stream_id, data, end_stream)

    monkeypatch.setattr(BoundedQuicConnection, "send_stream_data", watched)
    async with coordinator() as grid:
        stranger = mint(b"\x11" * 32, [grid.address], int(time.time()) + 3600)
        with pytest.raises(IdentityError, match="nothing was sent"):
            await join(stranger, Ed25519PrivateKey.generate(), "box")
        link = CoordinatorLink([grid.address], replace(grid.credentials(), pin=b"\x11" * 32), WorkerNotes())
        task = asyncio.create_task(link.run())
        await wait_until(lambda: "not the expected 11111111" in link.status, task)
        assert written == []
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await join(grid.token(), Ed25519PrivateKey.generate(), "box")
        assert written != []


async def test_who_takes_a_coordinators_address_for_a_while_does_not_end_its_workers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(coordinator_link, "PENDING_S", 0.0)
    async with coordinator() as grid:
        right, notes = grid.credentials(), WorkerNotes()
        credentials = replace(right, pin=b"\x11" * 32)
        link = CoordinatorLink([grid.address], credentials, notes)
        task = asyncio.create_task(link.run())
        await wait_until(lambda: "not the expected 11111111" in link.status, task)
        link._credentials = right  # its own coordinator is back
        await wait_until(lambda: bool(notes.welcomes), task)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_wrong_identity_at_one_address_does_not_hide_the_right_one_at_the_next() -> None:
    async with coordinator() as impostor, coordinator() as grid:
        credentials, notes = grid.credentials(), WorkerNotes()
        link = CoordinatorLink([impostor.address, grid.address], credentials, notes)
        task = asyncio.create_task(link.run())
        await wait_until(lambda: bool(notes.welcomes), task)
        assert impostor.notes.links == []
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_one_use_token_raced_by_100_workers_makes_exactly_one() -> None:
    async with coordinator() as grid:
        token = grid.token()
        results = await asyncio.gather(
            *(join(token, Ed25519PrivateKey.generate(), f"box-{number}") for number in range(100)),
            return_exceptions=True,
        )
        refused = [result for result in results if isinstance(result, BaseException)]
        assert len(refused) == 99
        assert all(isinstance(result, LinkError) and "used already" in str(result) for result in refused)
        assert len(grid.directory.workers) == 1


async def test_a_used_token_is_refused_but_the_same_machine_may_ask_again() -> None:
    async with coordinator() as grid:
        token, key = grid.token(), Ed25519PrivateKey.generate()
        first = await join(token, key, "box")
        again = await join(token, key, "box")
        assert again.worker_id == first.worker_id
        with pytest.raises(LinkError, match="used already"):
            await join(token, Ed25519PrivateKey.generate(), "other")


async def test_a_token_that_expires_on_the_way_is_refused_by_the_coordinator() -> None:
    async with coordinator() as grid:
        token = grid.token()
        grid.directory.now = token.expires_at + 1.0
        with pytest.raises(LinkError, match="expired"):
            await join(token, Ed25519PrivateKey.generate(), "box")


async def test_knowing_a_token_id_without_its_seed_is_not_enough() -> None:
    async with coordinator() as grid:
        token = replace(grid.token(), seed=bytes(20))
        with pytest.raises(LinkError, match="does not know this join token"):
            await join(token, Ed25519PrivateKey.generate(), "box")
        with pytest.raises(LinkError, match="does not know this join token"):
            await join(replace(token, token_id="ff" * 8), Ed25519PrivateKey.generate(), "box")
        assert grid.directory.workers == {}
        assert grid.directory.looks == 2  # for both alike, so that the time tells nobody which it was


async def test_a_token_made_a_moment_ago_beside_the_coordinator_is_redeemed() -> None:
    async with coordinator() as grid:
        token = grid.token()
        grid.directory.made_beside = {token.token_id: grid.directory.tokens.pop(token.token_id)}
        await join(token, Ed25519PrivateKey.generate(), "box")
        assert [worker.name for worker in grid.directory.workers.values()] == ["box"]


async def test_where_the_store_cannot_be_looked_at_a_token_is_not_called_unknown() -> None:
    async with coordinator() as grid:
        token = grid.token()
        grid.directory.tokens.clear()
        grid.directory.hangs = True
        with pytest.raises(LinkError, match="will try again"):
            await join(token, Ed25519PrivateKey.generate(), "box")
        assert grid.directory.workers == {}


async def test_a_cloned_worker_key_fences_the_old_session() -> None:
    async with coordinator() as grid:
        credentials, first, second = grid.credentials(), WorkerNotes(), WorkerNotes()
        original = CoordinatorLink([grid.address], credentials, first)
        task = asyncio.create_task(original.run())
        await wait_until(lambda: bool(first.welcomes), task)
        async with worker(grid, credentials, second):
            with pytest.raises(LinkError, match="used from another place"):
                await task
            assert first.disconnects
            assert [link.session_epoch for link in grid.notes.links] == [1, 2]
            assert grid.notes.disconnects[0][0] is grid.notes.links[0]
            assert second.disconnects == []


async def test_twenty_clones_at_once_leave_one_session() -> None:
    async with coordinator() as grid:
        credentials = grid.credentials()
        notes = [WorkerNotes() for _ in range(20)]
        tasks = [asyncio.create_task(CoordinatorLink([grid.address], credentials, note).run()) for note in notes]
        await wait_until(lambda: sum(task.done() for task in tasks) == 19)
        open_links = [link for link in grid.notes.links if link not in [gone for gone, _ in grid.notes.disconnects]]
        assert len(open_links) == 1
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_revoked_worker_is_cut_off_at_its_next_frame() -> None:
    async with coordinator() as grid:
        credentials, notes = grid.credentials(), WorkerNotes()
        link = CoordinatorLink([grid.address], credentials, notes)
        task = asyncio.create_task(link.run())
        await wait_until(lambda: bool(notes.welcomes), task)
        grid.directory.set_status(credentials.worker_id, WorkerStatus.REVOKED)
        link.refuse(JobId("job_1"), 1, "anything")
        with pytest.raises(LinkError, match="revoked"):
            await asyncio.wait_for(task, 5.0)
        assert grid.notes.refusals == []
        with pytest.raises(LinkError, match="revoked"):
            await CoordinatorLink([grid.address], credentials, WorkerNotes()).run()


async def test_an_unknown_worker_is_told_to_join_again() -> None:
    async with coordinator() as grid, coordinator(identity=grid.identity) as forgetful:
        with pytest.raises(LinkError, match="join again"):
            await CoordinatorLink([forgetful.address], grid.credentials(), WorkerNotes()).run()


async def test_a_join_replayed_on_another_connection_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    said = await replayed_join(monkeypatch)
    assert "does not know this join token" in said


async def test_relay_between_two_coordinators_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first coordinator forwards what the second asks, and the worker's answer: the pin in it is the first's."""
    async with coordinator() as honest, coordinator() as relay:
        key = Ed25519PrivateKey.generate()
        record = honest.directory.add_worker(key.public_key().public_bytes_raw(), "box")
        answers: list[Auth] = []
        plain = worker_session.sign_auth

        def for_the_relay(*arguments: object) -> Auth:
            answer = plain(*arguments)  # type: ignore[arg-type]
            answers.append(answer)
            return answer

        monkeypatch.setattr(worker_session, "sign_auth", for_the_relay)
        with pytest.raises(LinkError):
            await CoordinatorLink([relay.address], Credentials(record.id, key, relay.identity.pin), WorkerNotes()).run()
        monkeypatch.setattr(worker_session, "sign_auth", lambda *arguments: answers[0])
        with pytest.raises(LinkError, match="does not know this worker"):
            await CoordinatorLink(
                [honest.address], Credentials(record.id, key, honest.identity.pin), WorkerNotes()
            ).run()
        assert honest.notes.links == []


async def replayed_join(monkeypatch: pytest.MonkeyPatch) -> str:
    """What the coordinator says to a captured message on a second connection."""
    captured: list[Join] = []
    plain = worker_session.sign_join

    def capture(*arguments: object) -> Join:
        message = plain(*arguments)  # type: ignore[arg-type]
        captured.append(message)
        return message

    async with coordinator() as grid:
        token = grid.token()
        grid.directory.tokens[token.token_id] = replace(grid.directory.tokens[token.token_id], max_uses=5)
        monkeypatch.setattr(worker_session, "sign_join", capture)
        await join(token, Ed25519PrivateKey.generate(), "box")
        monkeypatch.setattr(worker_session, "sign_join", lambda *arguments: captured[0])
        with pytest.raises(LinkError) as refusal:
            await join(token, Ed25519PrivateKey.generate(), "box")
        assert len(grid.directory.workers) == 1
        return str(refusal.value)


async def test_a_broken_token_is_found_out_without_any_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*arguments: object, **more: object) -> None:
        raise AssertionError("a datagram endpoint was made")

    monkeypatch.setattr(asyncio.get_running_loop(), "create_datagram_endpoint", no_network)
    token: JoinToken = mint(b"p" * 32, [Address("127.0.0.1", 1)], 1000)
    for text in (token.text()[:-1], token.text()[:40], flip(token.text(), 50)):
        with pytest.raises(TokenError):
            parse(text, now=0.0)
    with pytest.raises(TokenError, match="expired"):
        parse(token.text(), now=1000.0)


def flip(text: str, place: int) -> str:
    other = "A" if text[place] != "A" else "B"
    return text[:place] + other + text[place + 1 :]
