"""B9: identity comes from the verified token, whatever headers claim; services trust the gateway and nobody else."""

import asyncio
import itertools
import json
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from faults.rig import Rig
from stack import LOOPBACK, Supervised

pytestmark = pytest.mark.asyncio(loop_scope="session")

#: Who one is, where one comes from, and what another proxy may have said about it.
NAMES = (
    "X-Tenant-Id", "X-User-Id", "X-Roles", "X-Role", "X-Permissions", "X-Internal-Identity", "X-Internal-Token",
    "X-Internal-Secret", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-User", "X-Real-IP",
    "Forwarded", "X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override", "X-Authenticated-User", "X-Auth-Roles",
    "True-Client-IP", "X-Client-Cert", "Via",
)  # fmt: skip
FORGED = "forged-by-a-client"


def _variants() -> Iterator[list[tuple[str, str]]]:
    """Spellings of each name: as it is, other case, underscores, twins, repeated, padded, and named as hop-by-hop."""
    for name in NAMES:
        twin = name.replace("-", "_")
        yield [(name, FORGED)]
        yield [(name.upper(), FORGED)]
        yield [(name.lower(), FORGED)]
        yield [(twin, FORGED)]
        yield [(name, FORGED), (twin, FORGED)]
        yield [(name, FORGED), (name, FORGED)]
        yield [(name, f"\t {FORGED} \t")]
        yield [(name, FORGED), ("Connection", name)]
        yield [("Connection", "X-Internal-Identity"), (name, FORGED)]


VARIANTS = list(_variants())


class Recorder:
    """An upstream that keeps the head of each request that reaches it."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer 200 until the peer leaves."""
        try:
            while True:
                self.heads.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            writer.close()


@pytest_asyncio.fixture(loop_scope="session")
async def recorded(rig: Rig) -> AsyncIterator[tuple[Supervised, Recorder]]:
    """A gateway whose mailer is a recorder."""
    recorder = Recorder()
    server = await asyncio.start_server(recorder.serve, LOOPBACK, 0)
    recorder.port = server.sockets[0].getsockname()[1]
    async with rig.more_gateways(1, mailer_url=f"http://{LOOPBACK}:{recorder.port}") as (gateway,):
        yield gateway, recorder
    server.close()


async def request(port: int, headers: list[tuple[str, str]], *, path: str = "/suppressions") -> tuple[int, bytes]:
    """Status and body of a GET written byte for byte: no client library tidies the headers."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    fields = [("Host", "gateway.example.org"), *headers]
    if not any(name.lower() == "connection" for name, _ in headers):
        fields.append(("Connection", "close"))
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)
    writer.write(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1"))
    status = int((await reader.readline()).split()[1])
    length = 0
    while (line := await reader.readline()) not in (b"\r\n", b""):
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    body = await reader.readexactly(length)
    writer.close()
    return status, body


async def test_nothing_forged_reaches_a_service(rig: Rig, recorded: tuple[Supervised, Recorder]) -> None:
    gateway, recorder = recorded
    port = int(gateway.environment["PORT"])
    token = rig.tokens[rig.tenants[0]]
    assert len(VARIANTS) >= 198
    leaked, wrong = [], []
    for variant in VARIANTS:
        before = len(recorder.heads)
        status, body = await request(port, [("Authorization", f"Bearer {token}"), *variant])
        if status not in (200, 400, 403):
            wrong.append((variant, status, body[:100]))
        heads = recorder.heads[before:]
        assert len(heads) <= 1
        for head in heads:
            if FORGED.encode() in head:
                leaked.append((variant, head))
            if head.lower().count(b"x-internal-identity:") != 1:
                leaked.append((variant, head))
    assert not leaked
    assert not wrong


async def test_a_header_does_not_make_a_stranger_somebody(rig: Rig) -> None:
    port = int(rig.gateway.environment["PORT"])
    for variant in VARIANTS[::3]:
        status, body = await request(port, variant)
        assert status in (400, 401), (variant, status, body[:200])


async def _shows(port: int, headers: list[tuple[str, str]], tenant: uuid.UUID) -> bool:
    """Whether the list of suppressions, seen with these headers, holds the row that `tenant` made."""
    status, body = await request(port, headers, path=f"/suppressions?email=b9-{tenant}@suppressed.example.org")
    assert status == 200, body
    return bool(json.loads(body)["data"])


async def test_a_tenant_in_a_header_must_be_one_of_the_tokens(rig: Rig) -> None:
    port = int(rig.gateway.environment["PORT"])
    own, other = rig.tenants[7], rig.tenants[8]
    for tenant in (own, other):
        status, body = await _create(port, rig.tokens[tenant], f"b9-{tenant}@suppressed.example.org")
        assert status in (201, 409), body
    bearer = ("Authorization", f"Bearer {rig.tokens[own]}")
    for name in ("x-tenant-id", "X-TENANT-ID", "X-Tenant-Id"):
        status, body = await request(port, [bearer, (name, str(other))])
        assert status == 403, (name, status, body[:200])
        status, body = await request(port, [bearer, (name, str(own))])
        assert status == 200
        assert await _shows(port, [bearer, (name, str(own))], own)
        assert not await _shows(port, [bearer, (name, str(own))], other)
    twice = [("x-tenant-id", str(own)), ("x-tenant-id", str(other))]
    for order in itertools.permutations(twice):
        status, body = await request(port, [bearer, *order])
        assert status in (400, 403), (order, status, body[:200])
    operator = ("Authorization", f"Bearer {rig.operator}")
    assert await _shows(port, [operator, ("x-tenant-id", str(other))], other), "an administrator may name any tenant"


async def test_a_service_answers_nobody_but_the_gateway(rig: Rig) -> None:
    port = int(rig.mailer.environment["PORT"])
    user = rig.tokens[rig.tenants[0]]
    foreign = rig.made.identities.token("billing", tenant_id=rig.tenants[0], permissions=["suppressions:read"])
    expired = rig.made.identities.token(
        "mailer", tenant_id=rig.tenants[0], permissions=["suppressions:read"], lifetime_s=-120
    )
    tries: list[list[tuple[str, str]]] = [
        [],
        [("Authorization", f"Bearer {user}")],
        [("X-Internal-Identity", user)],
        [("X-Internal-Identity", foreign)],
        [("X-Internal-Identity", expired)],
        [("X-Internal-Identity", FORGED)],
        [("X-Tenant-Id", str(rig.tenants[0])), ("X-User-Id", str(uuid.uuid4())), ("X-Roles", "superadmin")],
        *(variant for variant in VARIANTS[::4]),
    ]
    for headers in tries:
        status, body = await request(port, headers)
        assert status in (400, 401), (headers, status, body[:200])
    good = rig.made.identities.token("mailer", tenant_id=rig.tenants[0], permissions=["suppressions:read"])
    status, _ = await request(port, [("X-Internal-Identity", good)])
    assert status == 200, "else the refusals above would prove nothing"


async def test_an_internal_token_is_worth_nothing_at_the_edge(rig: Rig) -> None:
    port = int(rig.gateway.environment["PORT"])
    internal = rig.made.identities.token("mailer", tenant_id=rig.tenants[0], permissions=["suppressions:read"])
    for headers in ([("Authorization", f"Bearer {internal}")], [("Cookie", f"jwt={internal}")]):
        status, _ = await request(port, headers)
        assert status == 401


async def _create(port: int, token: str, email: str) -> tuple[int, bytes]:
    body = json.dumps({"email": email}).encode()
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    writer.write(
        b"POST /suppressions HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\nContent-Type: application/json\r\n"
        b"Authorization: Bearer %b\r\nContent-Length: %d\r\n\r\n%b" % (token.encode(), len(body), body)
    )
    answer = await reader.read()
    writer.close()
    return int(answer.split(b" ", 2)[1]), answer
