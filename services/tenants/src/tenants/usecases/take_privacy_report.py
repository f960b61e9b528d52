"""Takes in what a service did of a request about a person's data, and ends the request once all have."""

import base64
from collections.abc import Collection
from datetime import datetime

from bus.envelope import Envelope
from chassis.db import Connection
from contracts.privacy import PrivacyErased, PrivacyExported
from tenants import store


async def take_privacy_report(
    conn: Connection,
    event: PrivacyErased | PrivacyExported,
    envelope: Envelope,
    *,
    services: Collection[str],
    now: datetime,
) -> None:
    """The service's part is noted, once; the request is done when each of `services` has reported.

    In the transaction of the event's tenant; a report on a request that the tenant does not have changes nothing.
    """
    service = envelope.type.split(".", 1)[0]
    erased = isinstance(event, PrivacyErased)
    request_id = event.erasure_id if isinstance(event, PrivacyErased) else event.export_id
    request = await store.privacy.lock_request(conn, event.tenant_id, request_id)
    if request is None or (request.kind == "erasure") is not erased:
        return
    if isinstance(event, PrivacyExported):
        sealed = base64.b64encode(event.sealed).decode()
        await store.privacy.add_part(conn, event.tenant_id, request_id, service, sealed)
        done, kept = ["exported"], []
    else:
        done, kept = list(event.erased), list(event.kept)
    await store.privacy.insert_report(conn, event.tenant_id, request_id, service, done, kept, event.occurred_at)
    reported = {report.service for report in await store.privacy.list_reports(conn, event.tenant_id, request_id)}
    if reported >= set(services) and request.status != "done":
        await store.privacy.mark_done(conn, event.tenant_id, request_id, now)
