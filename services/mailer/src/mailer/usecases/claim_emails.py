"""Takes due mails from the queue, with everything that sending them needs."""

import random
from collections.abc import Collection, Mapping, MutableMapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from chassis.db import Connection
from chassis.secrets import SecretBox, SecretUnreadable
from mailer import store
from mailer.domain.email_templates import EmailTemplate, TemplateIndex
from mailer.domain.emails import MAX_LOST_CLAIMS, Claim, Ending, deferred, failed, hidden_of, suppressed
from mailer.domain.suppressions import normal_form
from mailer.usecases.open_origin import Origin, open_origin


class Parcel(msgspec.Struct, frozen=True, kw_only=True):
    """A claimed mail that can be rendered and sent; nothing of `hidden` may be told about how that went."""

    claim: Claim
    origin: Origin
    template: EmailTemplate
    variables: dict[str, Any]
    hidden: tuple[str, ...]


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """What one claim brought: mails to send, and mails whose fate is decided without a server."""

    parcels: list[Parcel]
    ended: list[tuple[Claim, Ending]]


async def claim_emails(
    conn: Connection,
    rooms: Mapping[UUID, int],
    *,
    other_room: int,
    limit: int,
    lease_s: float,
    in_hand: Collection[UUID],
    box: SecretBox,
    texts: MutableMapping[str, EmailTemplate],
    default_origin: Origin | None,
    default_locale: str,
    allow_private_smtp: bool,
    now: datetime,
) -> Claimed:
    """Claims up to `limit` mails, in the caller's platform transaction, and looks up their servers and templates.

    `texts` keeps templates by version from one call to the next.
    """
    claims = await store.emails.claim_due(
        conn, rooms, other_room=other_room, limit=limit, lease_s=lease_s, in_hand=in_hand
    )
    if not claims:
        return Claimed(parcels=[], ended=[])
    settings = await store.email_settings.list_settings_of_lanes(conn, list({claim.lane for claim in claims}))
    by_lane = {row.id: row for row in settings}
    causes = await store.suppressions.list_causes(
        conn, [claim.tenant_id for claim in claims], [normal_form(claim.to_email) for claim in claims]
    )
    templates = await _templates(conn, claims, texts, default_locale)
    claimed = Claimed(parcels=[], ended=[])
    for claim in claims:
        cause = causes.get((claim.tenant_id, normal_form(claim.to_email)))
        template = templates.get(claim.id)
        if claim.lost_claims > MAX_LOST_CLAIMS:
            claimed.ended.append((claim, failed(f"the process died {MAX_LOST_CLAIMS} times with it in hand")))
        elif cause is not None:
            claimed.ended.append((claim, suppressed(cause)))
        elif template is None:
            claimed.ended.append((claim, failed(f"there is no template {claim.template!r} any more")))
        else:
            try:
                row = by_lane.get(claim.lane)
                origin = open_origin(row, box, allow_private_smtp=allow_private_smtp) if row else default_origin
                secret = _secret(claim, box)
            except SecretUnreadable as error:  # the key may come back; the mail waits for it
                draw = random.random()  # noqa: S311 - jitter
                ending = deferred(claim, str(error), code=None, now=now, draw=draw)
                claimed.ended.append((claim, ending))
                continue
            if origin is None:
                claimed.ended.append((claim, failed("there are no active e-mail settings")))
            else:
                claimed.parcels.append(
                    Parcel(
                        claim=claim,
                        origin=origin,
                        template=template,
                        variables=msgspec.json.decode(claim.variables) | secret,
                        hidden=hidden_of(claim.to_email, secret),
                    )
                )
    return claimed


def _secret(claim: Claim, box: SecretBox) -> dict[str, Any]:
    if claim.secret_variables is None:
        return {}
    opened = box.open(claim.secret_variables, claim.tenant_id, "emails", claim.id)
    secret: dict[str, Any] = msgspec.json.decode(opened)
    return secret


async def _templates(
    conn: Connection, claims: Sequence[Claim], texts: MutableMapping[str, EmailTemplate], default_locale: str
) -> dict[UUID, EmailTemplate]:
    """The template of each mail; only the texts of versions not seen before are read."""
    choices = await store.email_templates.list_choices(
        conn, list({claim.tenant_id for claim in claims}), list({claim.template for claim in claims})
    )
    index = TemplateIndex(choices, default_locale)
    chosen = {claim.id: index.choose(claim.tenant_id, claim.template, claim.locale) for claim in claims}
    unread = {choice.version: choice for choice in chosen.values() if choice and choice.version not in texts}
    if unread:
        rows = await store.email_templates.list_by_id(
            conn, [choice.tenant_id for choice in unread.values()], [choice.id for choice in unread.values()]
        )
        texts.update({row.version: row for row in rows})
    return {mail: texts[choice.version] for mail, choice in chosen.items() if choice and choice.version in texts}
