"""The listeners: TLS for all, plain HTTP for this machine only, and a stop that lets requests end."""

import asyncio
import datetime
import socket
import ssl
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from coordinator.http.app import create_app
from coordinator.http.server import HttpServer, Listen, ListenError
from tests.fakes.backend import CHAT, USER, Backend, paced

BODY = {"model": CHAT, "messages": [{"role": "user", "content": "x"}]}
HEADERS = {"authorization": f"Bearer {USER}"}


@pytest.fixture
def contexts(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and its client's."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "tls.pem"
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(certificate.public_bytes(pem) + secret)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    client = ssl.create_default_context(cadata=certificate.public_bytes(pem).decode())
    return server, client


async def test_tls_and_loopback_serve_the_same_app(tmp_path, contexts):
    server_side, client_side = contexts
    app = create_app(Backend(tmp_path).services)
    server = HttpServer(app, tls=Listen("127.0.0.1", 0), context=server_side, plain=Listen("127.0.0.1", 0))
    await server.start()
    secure, plain = server.ports
    try:
        async with httpx.AsyncClient(verify=client_side, headers=HEADERS) as http:
            over_tls = await http.post(f"https://localhost:{secure}/v1/chat/completions", json=BODY)
            on_loopback = await http.post(f"http://127.0.0.1:{plain}/v1/chat/completions", json=BODY)
    finally:
        await server.stop(0)
    assert over_tls.json()["choices"] == on_loopback.json()["choices"]


async def test_disconnect_over_tls_cancels_within_a_second(tmp_path, contexts):
    server_side, client_side = contexts
    backend = Backend(tmp_path)
    backend.requests.script = paced(1000, 0.05)
    server = HttpServer(create_app(backend.services), tls=Listen("127.0.0.1", 0), context=server_side)
    await server.start()
    try:
        async with httpx.AsyncClient(verify=client_side, headers=HEADERS) as http:
            url = f"https://localhost:{server.ports[0]}/v1/chat/completions"
            async with http.stream("POST", url, json=BODY | {"stream": True}) as reply:
                async for _ in reply.aiter_lines():
                    break
        async with asyncio.timeout(1):
            await backend.requests.tickets[0].cancelled.wait()
    finally:
        await server.stop(0)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])
def test_plain_http_beyond_this_machine_is_refused(tmp_path, host):
    app = create_app(Backend(tmp_path).services)
    with pytest.raises(ListenError, match="for this machine only"):
        HttpServer(app, tls=None, plain=Listen(host, 0))


def test_https_without_a_certificate_is_refused(tmp_path):
    with pytest.raises(ListenError, match="needs a certificate"):
        HttpServer(create_app(Backend(tmp_path).services), tls=Listen("127.0.0.1", 0))


async def test_a_port_in_use_is_one_sentence_and_leaves_nothing_listening(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = HttpServer(create_app(Backend(tmp_path).services), tls=None, plain=Listen("127.0.0.1", port))
        with pytest.raises(ListenError, match=rf"Cannot listen on 127.0.0.1 port {port} \(tcp\): "):
            await server.start()
    assert server.ports == ()


async def test_stop_lets_a_request_end(tmp_path):
    backend = Backend(tmp_path)
    backend.requests.script = paced(3, 0.1)
    server = HttpServer(create_app(backend.services), tls=None, plain=Listen("127.0.0.1", 0))
    await server.start()
    async with httpx.AsyncClient(headers=HEADERS) as http:
        url = f"http://127.0.0.1:{server.ports[0]}/v1/chat/completions"
        asked = asyncio.create_task(http.post(url, json=BODY))
        await backend.requests.submitted.wait()
        await server.stop(5)
        assert (await asked).json()["usage"]["completion_tokens"] == 3


async def test_stop_cuts_off_what_does_not_end_and_frees_its_slot(tmp_path):
    backend = Backend(tmp_path)
    backend.requests.script = lambda _task, _number: [60.0]
    server = HttpServer(create_app(backend.services), tls=None, plain=Listen("127.0.0.1", 0))
    await server.start()
    async with httpx.AsyncClient(headers=HEADERS) as http:
        url = f"http://127.0.0.1:{server.ports[0]}/v1/chat/completions"
        asked = asyncio.create_task(http.post(url, json=BODY))
        await backend.requests.submitted.wait()
        async with asyncio.timeout(4):
            await server.stop(1)
            await asyncio.wait([asked])
    assert backend.requests.tickets[0].cancelled.is_set()
    asked.exception()
