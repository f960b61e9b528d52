"""The header that tells a service who calls: signed by the chassis, remembered per principal, service and tenant."""

import time
from collections.abc import Callable
from typing import Final
from uuid import UUID

from chassis.identity import HEADER, Identity, IdentitySigner
from gateway.policy import SERVICE_PERMISSIONS
from gateway.tokens import Principal

_KEPT_S: Final = 20.0  # the signer promises 30 more seconds; a request may wait up to 10 before it is sent
_MAX_KEPT: Final = 64  # a platform administrator may name any number of tenants


class IdentityHeaders:
    """Signs who calls, for one service."""

    def __init__(self, signer: IdentitySigner, now: Callable[[], float] = time.monotonic) -> None:
        self._signer = signer
        self._now = now

    def line(self, principal: Principal, tenant_id: UUID | None, service: str) -> bytes:
        """The header line that says so, ended by CRLF."""
        # The usual tenant is known by being the very object: a UUID's hash is slow.
        key = service if tenant_id is principal.default_tenant else (service, tenant_id)
        kept = principal.memory.get(key)
        now = self._now()
        if kept is not None and kept[1] > now:
            return kept[0]
        identity = Identity(
            subject=principal.subject,
            tenant_id=tenant_id,
            roles=principal.roles,
            permissions=principal.permissions_in(tenant_id) & SERVICE_PERMISSIONS[service],
            kind=principal.kind,
        )
        line = f"{HEADER}: {self._signer.sign(identity, service)}\r\n".encode()
        if len(principal.memory) >= _MAX_KEPT:
            principal.memory.clear()
        principal.memory[key] = (line, now + _KEPT_S)
        return line
