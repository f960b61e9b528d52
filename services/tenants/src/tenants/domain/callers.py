"""Where a request comes from, as limits and the audit log ask it."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import msgspec

_USER_AGENT_CHARS = 300


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """The client's address, and what it calls itself; both are personal data."""

    address: str | None = None
    user_agent: str | None = None

    @property
    def network(self) -> str:
        """What tries are counted under: an IPv4 address, or an IPv6 /64, which is what one customer is given."""
        found = None if self.address is None else _address(self.address)
        if isinstance(found, IPv6Address):
            return str(IPv6Network((found, 64), strict=False))
        return str(found) if found is not None else "unknown"


def caller(address: str, user_agent: str | None) -> Caller:
    """The caller at `address`; what is no single address counts as unknown."""
    found = _address(address)
    return Caller(
        address=None if found is None else str(found),
        user_agent=user_agent[:_USER_AGENT_CHARS] if user_agent else None,
    )


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(text)
    except ValueError:
        return None
    if isinstance(found, IPv6Address):
        return found.ipv4_mapped or found
    return found
