"""Update checks, files and the downloads page over real HTTP, with nothing but what a signed release says."""

import hashlib
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from litestar.types import Message, Receive, Scope, Send

from coordinator.http.app import create_app
from coordinator.http.services import Limits
from coordinator.http.visitors import VisitorLimits
from coordinator.releases.index import paused, withdrawn
from coordinator.releases.shelf import Shelf
from coordinator.releases.store import ReleaseStore
from coordinator.state.folder import StateFolder
from tests.fakes.backend import Backend
from tests.fakes.release_folders import INSTALLERS, release_folder, root_keys
from tests.fakes.update_publisher import APP, CHANNEL, FILE, NOW, TARGET, Publisher
from updates.trust.answer import parse_answer, parse_keys_answer

SHA256 = hashlib.sha256(FILE).hexdigest()
CHECK = f"/updates/{TARGET}/1.0.0"
FILE_PATH = f"/files/{SHA256}/gogrid.zip"


@pytest.fixture
def store(tmp_path: Path) -> ReleaseStore:
    made = ReleaseStore(StateFolder(tmp_path / "state"))
    made.trust(root_keys(tmp_path / "root-keys.json"))
    notes = Publisher(bend_release=lambda document: document.update(notes="<script>alert(1)</script> & more"))
    made.publish(release_folder(tmp_path / "release", notes), None, NOW)
    return made


@pytest.fixture
def shelf(store: ReleaseStore) -> Shelf:
    made = Shelf(store)
    made.refresh()
    return made


@pytest.fixture
async def http(tmp_path: Path, shelf: Shelf) -> AsyncIterator[httpx.AsyncClient]:
    backend = Backend(tmp_path)
    transport = httpx.ASGITransport(create_app(replace(backend.services, releases=shelf)))
    async with httpx.AsyncClient(transport=transport, base_url="https://grid.example:8443") as client:
        yield client


async def test_an_update_check_needs_no_key_and_speaks_tauri(http: httpx.AsyncClient):
    reply = await http.get(CHECK)
    assert reply.status_code == 200
    assert reply.headers["cache-control"] == "no-store"
    manifest = reply.json()
    assert {"version", "notes", "pub_date", "platforms"} <= manifest.keys()
    platform = manifest["platforms"][TARGET]
    assert platform["url"] == f"https://grid.example:8443{FILE_PATH}"
    assert platform["signature"]
    offer = parse_answer(reply.content)
    assert (offer.release_seq, offer.ts_seq, offer.key_epoch) == (7, 10, 1)


@pytest.mark.parametrize(
    ("address", "status"),
    [
        (f"/updates/{TARGET}/2.0.0", 204),
        (f"{CHECK}?seq=7&ts=10", 204),
        (f"{CHECK}?seq=7&ts=9", 200),
        (f"{CHECK}?seq=6&ts=10", 200),
        (f"/updates/{TARGET}/2.0.0?seq=6&ts=10", 200),
        ("/updates/linux-aarch64/1.0.0", 204),
        (f"{CHECK}?app=gogrid-engine", 204),
        (f"{CHECK}?channel=beta", 204),
        (f"{CHECK}?seq=x", 400),
        (f"{CHECK}?" + "a=1&" * 50, 400),
        (f"{CHECK}?%ff=%00;;&&=", 200),
        ("/updates/keys/1", 200),
        ("/updates/keys/2", 404),
        ("/updates/nowhere/1.0.0/x", 404),
        ("/updates/", 404),
        ("/files/", 404),
        (f"/files/{'0' * 64}/gogrid.zip", 404),
        (f"/files/{SHA256}/other.zip", 404),
        (f"/files/{SHA256}/..%2findex.json", 404),
    ],
)
async def test_what_is_asked_for_and_what_comes(http: httpx.AsyncClient, address: str, status: int):
    assert (await http.get(address)).status_code == status


@pytest.mark.parametrize(
    "query", ["seq=x", "seq=-1&ts=1e99", "seq=1&ts=1e99", "ts=x", "seq=" + "9" * 17], ids=lambda query: query[:14]
)
@pytest.mark.parametrize("where", [CHECK, "/updates/linux-aarch64/1.0"], ids=["offered", "nothing-offered"])
async def test_a_number_that_is_none_is_not_answered_as_nothing_newer(http: httpx.AsyncClient, where: str, query: str):
    reply = await http.get(f"{where}?{query}")
    assert reply.status_code == 400
    assert "must be a whole number of at most 16 digits" in reply.json()["error"]["message"]


async def test_nothing_published_is_nothing_new(tmp_path: Path):
    transport = httpx.ASGITransport(create_app(Backend(tmp_path).services))
    async with httpx.AsyncClient(transport=transport, base_url="https://grid") as client:
        assert (await client.get(CHECK)).status_code == 204
        assert (await client.get(FILE_PATH)).status_code == 404
        assert "no installer here yet" in (await client.get("/downloads")).text


async def test_paused_and_withdrawn_releases_are_not_offered(http: httpx.AsyncClient, store: ReleaseStore):
    store.change(lambda index: paused(index, APP, CHANNEL))
    assert (await http.get(CHECK)).status_code == 204
    store.change(lambda index: withdrawn(index, APP, CHANNEL, 7))
    assert (await http.get(FILE_PATH)).status_code == 404


async def test_no_answer_is_older_than_a_publish_that_has_returned(
    http: httpx.AsyncClient, store: ReleaseStore, tmp_path: Path
):
    assert parse_answer((await http.get(CHECK)).content).release_seq == 7
    newer = b"of release 8"
    store.publish(release_folder(tmp_path / "newer", Publisher(seq=8, ts_seq=11, file=newer)), None, NOW)
    offer = parse_answer((await http.get(f"{CHECK}?seq=7&ts=10")).content)
    assert (offer.release_seq, offer.ts_seq) == (8, 11)
    assert (await http.get(f"/files/{hashlib.sha256(newer).hexdigest()}/gogrid.zip")).content == newer


async def test_a_machine_is_told_to_ask_again_where_the_disk_does_not_let_the_coordinator_look(
    http: httpx.AsyncClient, tmp_path: Path
):
    folder = tmp_path / "state" / "releases"
    folder.rename(tmp_path / "state" / "away")
    folder.symlink_to(folder)
    reply = await http.get(CHECK)
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "5")
    folder.unlink()
    (tmp_path / "state" / "away").rename(folder)
    assert (await http.get(CHECK)).status_code == 200


async def test_keys_are_given_with_their_signatures_and_may_be_kept(http: httpx.AsyncClient):
    reply = await http.get("/updates/keys/1")
    given, expected = parse_keys_answer(reply.content), Publisher().keys()
    assert given.data == expected.data
    assert set(given.signatures) == set(expected.signatures)
    assert "immutable" in reply.headers["cache-control"]


async def test_a_file_whole_in_part_and_not_again(http: httpx.AsyncClient):
    whole = await http.get(FILE_PATH)
    assert whole.content == FILE
    assert whole.headers["etag"] == f'"{SHA256}"'
    assert "immutable" in whole.headers["cache-control"]
    assert whole.headers["content-disposition"] == 'attachment; filename="gogrid.zip"'
    part = await http.get(FILE_PATH, headers={"range": "bytes=100-"})
    assert (part.status_code, part.content) == (206, FILE[100:])
    assert part.headers["content-range"] == f"bytes 100-{len(FILE) - 1}/{len(FILE)}"
    assert (await http.get(FILE_PATH, headers={"if-none-match": f'"{SHA256}"'})).status_code == 304
    assert (await http.get(FILE_PATH, headers={"range": f"bytes={len(FILE)}-"})).status_code == 416
    head = await http.head(FILE_PATH)
    assert (head.content, head.headers["content-length"]) == (b"", str(len(FILE)))
    assert (await http.get(FILE_PATH + ".minisig")).text.startswith("untrusted comment: ")
    assert (await http.post(FILE_PATH)).status_code == 405


async def test_models_and_job_files_are_no_downloads(http: httpx.AsyncClient, tmp_path: Path):
    stored = Backend(tmp_path).blobs.put_bytes(b"a job's secret output")
    assert (await http.get(f"/files/{stored.sha256}/x")).status_code == 404


async def test_a_forged_host_ends_up_in_no_address(http: httpx.AsyncClient):
    reply = await http.get(CHECK, headers={"host": 'evil"/><x'})
    assert reply.json()["platforms"][TARGET]["url"] == f"https://localhost{FILE_PATH}"


AGENTS = {
    "windows": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36",
    "darwin": "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_1) AppleWebKit/605.1.15",
    "linux": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
}


@pytest.mark.parametrize("system", AGENTS)
async def test_the_downloads_page_offers_the_visitors_system_first(http: httpx.AsyncClient, system: str):
    page = (await http.get("/downloads", headers={"user-agent": AGENTS[system]})).text
    targets = [name for name in INSTALLERS.values() if name in page]
    assert len(targets) == len(INSTALLERS)
    [first] = [name for target, name in INSTALLERS.items() if target.startswith(system)]
    assert page.index(first) == min(page.index(name) for name in INSTALLERS.values())
    assert page.count("class=yours") == 1


async def test_who_only_knows_the_address_lands_on_a_page(http: httpx.AsyncClient):
    answer = await http.get("/", follow_redirects=True)
    assert (answer.status_code, answer.url.path) == (200, "/downloads")


async def test_the_downloads_page_shows_how_to_compare_each_file(http: httpx.AsyncClient):
    page = (await http.get("/downloads")).text
    for target, name in INSTALLERS.items():
        sha256 = hashlib.sha256(f"the installer for {target}".encode()).hexdigest()
        assert f'href="/files/{sha256}/{name}"' in page
        assert f'href="/files/{sha256}/{name}.minisig"' in page
        assert f"<code>{sha256}</code>" in page
        assert (await http.get(f"/files/{sha256}/{name}")).text == f"the installer for {target}"
    assert page.count("--check") == 2
    assert "Get-FileHash" in page


async def test_the_downloads_page_runs_and_loads_nothing(http: httpx.AsyncClient):
    reply = await http.get("/downloads")
    assert "<script" not in reply.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in reply.text
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", reply.text)
    assert "script-src" not in reply.headers["content-security-policy"]
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    style = await http.get("/downloads/style.css")
    assert style.headers["content-type"].startswith("text/css")
    assert "url(" not in style.text


async def test_too_many_requests_of_one_address_are_refused(tmp_path: Path, shelf: Shelf):
    few = Limits(visitors=VisitorLimits(burst=3, per_second=0.001, downloads_each=0))
    transport = httpx.ASGITransport(create_app(replace(Backend(tmp_path).services, releases=shelf, limits=few)))
    async with httpx.AsyncClient(transport=transport, base_url="https://grid") as client:
        busy = await client.get(FILE_PATH)
        assert (busy.status_code, busy.json()["error"]["code"]) == (429, "too_many_requests")
        assert [(await client.get("/downloads")).status_code for _ in range(3)] == [200, 200, 429]
        refused = await client.get(CHECK)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "10")
        assert (await client.get("/healthz")).status_code == 200


async def test_a_file_is_sent_in_pieces_however_large_it_is(tmp_path: Path, store: ReleaseStore):
    large = bytes(3 << 20)
    store.publish(release_folder(tmp_path / "large", Publisher(seq=8, ts_seq=11, file=large)), None, NOW)
    shelf = Shelf(store)
    shelf.refresh()
    app = create_app(replace(Backend(tmp_path).services, releases=shelf))
    pieces: list[int] = []

    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        async def counting(message: Message) -> None:
            pieces.append(len(message.get("body", b"")))
            await send(message)

        await app(scope, receive, counting)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(watched), base_url="http://grid") as client:
        reply = await client.get(f"/files/{hashlib.sha256(large).hexdigest()}/gogrid.zip")
    assert reply.content == large
    assert max(pieces) <= 256 << 10


async def test_digits_of_other_scripts_are_no_numbers(http: httpx.AsyncClient):
    assert (await http.get("/updates/keys/1")).status_code == 200
    assert (await http.get("/updates/keys/%D9%A1")).status_code == 404
    assert (await http.get(f"{CHECK}?seq=1&ts=1")).status_code == 200
    assert (await http.get(f"{CHECK}?seq=%D9%A1&ts=1")).status_code == 400
