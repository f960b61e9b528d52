"""How every service reports its part of a request about a person's data (LGPD, art. 18).

Each service has subclasses of its own (`billing.privacy.erased.v1`); the tenants service gathers them.
"""

from datetime import datetime
from uuid import UUID

from contracts.event import Event


class PrivacyErased(Event, frozen=True, kw_only=True):
    """The service's part of an erasure is done; `kept` says what stays, each with its legal reason."""

    tenant_id: UUID
    occurred_at: datetime
    erasure_id: UUID
    erased: tuple[str, ...]
    kept: tuple[str, ...]


class PrivacyExported(Event, frozen=True, kw_only=True):
    """The service's part of an export. `sealed` is JSON under SECRETS_KEY, AAD `tenant|privacy_exports|export`.

    Personal data passes the broker sealed only.
    """

    tenant_id: UUID
    occurred_at: datetime
    export_id: UUID
    sealed: bytes
