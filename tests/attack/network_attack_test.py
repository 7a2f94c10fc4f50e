"""Threat 3: a script reaches the machine's network, other machines, or local sockets of the host."""

import asyncio
import json
import secrets
import socket

import pytest

from tests.attack.jobs import Jobs

pytestmark = pytest.mark.sandbox


def _own_addresses() -> list[str]:
    """This machine's addresses that are not loopback, if it has any."""
    infos = socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
    return [str(info[4][0]) for info in infos if not str(info[4][0]).startswith("127.")]


async def test_nothing_arrives_at_listeners_of_the_host(jobs: Jobs) -> None:
    heard: list[str] = []
    name = f"gogrid-test-{secrets.token_hex(4)}"

    def listener(where: str):  # type: ignore[no-untyped-def]
        def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard.append(where)
            writer.close()

        return connected

    tcp = await asyncio.start_server(listener("tcp"), "0.0.0.0", 0)
    unix = await asyncio.start_unix_server(listener("abstract"), "\0" + name)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    udp.setblocking(False)
    async with tcp, unix:
        seen = await jobs.run(
            """
            import errno, json, socket, sys
            port, udp_port, name, *others = sys.argv[1:]
            answers = {}
            def attack(what, family, address, kind=socket.SOCK_STREAM):
                with socket.socket(family, kind) as client:
                    client.settimeout(2)
                    answers[what] = errno.errorcode.get(client.connect_ex(address), "connected")
                    try: client.send(b"stolen")
                    except OSError: pass
            attack("loopback", socket.AF_INET, ("127.0.0.1", int(port)))
            attack("udp", socket.AF_INET, ("127.0.0.1", int(udp_port)), socket.SOCK_DGRAM)
            attack("abstract", socket.AF_UNIX, chr(0) + name)
            for address in ("10.0.0.1", "169.254.169.254", "1.1.1.1", *others):
                attack(address, socket.AF_INET, (address, int(port)))
            try: answers["v6"] = attack("v6", socket.AF_INET6, ("2606:4700::1111", 443))
            except OSError as error: answers["v6"] = "refused"
            print(json.dumps(answers))
            """,
            arguments=(
                str(tcp.sockets[0].getsockname()[1]),
                str(udp.getsockname()[1]),
                name,
                *_own_addresses(),
            ),
        )
    answers = json.loads(seen.stdout)
    assert "connected" not in {answer for what, answer in answers.items() if what != "udp"}
    assert answers["10.0.0.1"] == "ENETUNREACH"
    assert heard == []
    with pytest.raises(BlockingIOError):
        udp.recv(1)
    udp.close()


async def test_loopback_is_the_only_interface(jobs: Jobs) -> None:
    seen = await jobs.run("import socket; print([name for _, name in socket.if_nameindex()])")
    assert seen.stdout == "['lo']\n"


async def test_socket_families_that_are_not_namespaced_are_refused(jobs: Jobs) -> None:
    seen = await jobs.run(
        """
        import errno, socket
        families = dict(vsock=40, alg=38, packet=17, bluetooth=31, can=29, tipc=30, xdp=44, key=15)
        for name, family in families.items():
            for make in (lambda: socket.socket(family, socket.SOCK_RAW), lambda: socket.socketpair(family)):
                try: make(); print(name, "opened")
                except OSError as error:
                    if error.errno != errno.EAFNOSUPPORT: print(name, error)
        try: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9); print("audit opened")
        except OSError as error: print(errno.errorcode[error.errno])
        """
    )
    assert seen.stdout == "EAFNOSUPPORT\n"
    assert seen.stderr == ""
