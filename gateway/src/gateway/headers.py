"""What is read from a request's head and what of it may go on to a service: named headers only, nothing else."""

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from random import getrandbits
from typing import Final

from contracts.errors import Malformed, Unauthenticated

#: What a service may see of the client's own headers. Everything else stays at the edge, whatever it is called:
#: identity, forwarding and method-override headers, their underscore twins, cookies and credentials.
FORWARDED: Final = frozenset(
    {
        *(
            b"accept",
            b"accept-encoding",
            b"accept-language",
            b"cache-control",
            b"content-encoding",
            b"content-language",
        ),
        *(b"content-type", b"content-digest", b"idempotency-key", b"if-match", b"if-modified-since", b"if-none-match"),
        *(b"if-range", b"if-unmodified-since", b"last-event-id", b"pragma", b"prefer", b"range", b"tracestate"),
        b"user-agent",
    }
)
_READ: Final = frozenset(
    {
        *(b"authorization", b"connection", b"content-length", b"cookie", b"expect", b"host", b"origin", b"traceparent"),
        *(b"transfer-encoding", b"x-forwarded-for", b"x-forwarded-proto", b"x-request-id", b"x-tenant-id"),
        *(b"access-control-request-method", b"x-api-key"),
    }
)
#: name -> whether it is passed on (True) or read here (False). What is missing is dropped.
_KNOWN: Final = {**dict.fromkeys(FORWARDED, True), **dict.fromkeys(_READ, False)}
_HARMLESS_CONNECTION: Final = frozenset({b"", b"close", b"keep-alive"})
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._\-]{1,128}")
_TRACEPARENT: Final = re.compile(rb"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})")
_HOST: Final = re.compile(rb"[A-Za-z0-9.\-_]{1,253}(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::[0-9]{1,5})?")


class Head:
    """One request's head, read once."""

    __slots__ = ("authorization", "extra", "lines", "read", "request_id", "trace_flags", "trace_id")

    def __init__(self, headers: Iterable[tuple[bytes, bytes]], extra: frozenset[bytes]) -> None:
        """Sort `headers` (lower-case names) into the lines that go on and the values that are read here.

        `extra` names what this route passes on besides. Raises Malformed for a header that may come only once,
        Unauthenticated when that is Authorization.
        """
        lines: list[bytes] = []
        read: dict[bytes, bytes] = {}
        for name, value in headers:
            passes = _KNOWN.get(name)
            if passes:
                lines.append(b"%b: %b\r\n" % (name, value))
            elif passes is None:
                if name in extra:
                    lines.append(b"%b: %b\r\n" % (name, value))
            elif name in read:
                if name == b"authorization":
                    raise Unauthenticated("two Authorization headers were sent", code="invalid_token")
                if name != b"x-forwarded-for":
                    raise Malformed(f"the header {name.decode('latin-1')} may come only once", code="duplicate_header")
                read[name] += b", " + value
            else:
                read[name] = value
                if name in extra:
                    lines.append(b"%b: %b\r\n" % (name, value))
        connection = read.get(b"connection")
        if connection is not None and connection.lower() not in _HARMLESS_CONNECTION:
            _drop_hop_by_hop(connection, lines, read)
        self.lines = lines
        self.read = read
        self.authorization = read.get(b"authorization")
        self._trace()

    def _trace(self) -> None:
        """The caller's trace goes on, with our hop as the parent; without one a trace begins here."""
        parent = self.read.get(b"traceparent")
        known = _TRACEPARENT.fullmatch(parent) if parent is not None else None
        if known is not None:
            self.trace_id, self.trace_flags = known.group(1), known.group(2)
        else:
            self.trace_id, self.trace_flags = getrandbits(128).to_bytes(16).hex().encode(), b"01"  # no secret
        request_id = self.read.get(b"x-request-id")
        known_id = request_id is not None and _REQUEST_ID.fullmatch(request_id) is not None
        self.request_id = request_id if known_id and request_id is not None else self.trace_id


def _drop_hop_by_hop(connection: bytes, lines: list[bytes], read: dict[bytes, bytes]) -> None:
    """Drop what the Connection header names. Raises Malformed when that would change who calls or what is framed."""
    names = {token.strip().lower() for token in connection.split(b",")}
    if not names.isdisjoint(_READ - {b"connection", b"x-request-id", b"traceparent"}):
        raise Malformed(
            "the Connection header names a header that belongs to the request", code="bad_connection_header"
        )
    lines[:] = [line for line in lines if line.split(b":", 1)[0] not in names]
    for name in names & read.keys() - {b"connection"}:
        del read[name]


@lru_cache(256)  # a gateway has few names, and each request brings one
def check_host(host: bytes | None) -> bytes:
    """The Host header. Raises Malformed when it is missing or no authority."""
    if host is None or _HOST.fullmatch(host) is None:
        raise Malformed("the Host header is missing or malformed", code="bad_host")
    return host


class Proxies:
    """Whose X-Forwarded-For and X-Forwarded-Proto are believed: the addresses of our own load balancers."""

    def __init__(self, networks: Iterable[str]) -> None:
        """`networks` as addresses or CIDR. Raises ValueError."""
        try:
            found = [ip_network(network, strict=False) for network in networks]
        except ValueError:
            raise ValueError("they are not addresses or networks in CIDR") from None
        self._networks: list[IPv4Network | IPv6Network] = found

    def client(self, peer: str, scheme: str, read: dict[bytes, bytes]) -> tuple[str, str]:
        """The client's address and scheme: the peer's own, or what a trusted peer says of the last untrusted hop."""
        if not self._networks or not self._trusts(peer):
            return peer, scheme
        proto = read.get(b"x-forwarded-proto", b"").decode("latin-1")
        if proto in ("http", "https"):
            scheme = proto
        for hop in reversed(read.get(b"x-forwarded-for", b"").decode("latin-1").split(",")):
            address = hop.strip()
            try:
                ip_address(address)
            except ValueError:
                return peer, scheme
            peer = address
            if not self._trusts(peer):
                break
        return peer, scheme

    def _trusts(self, address: str) -> bool:
        try:
            ip = ip_address(address)
        except ValueError:
            return False
        return any(ip in network for network in self._networks)
