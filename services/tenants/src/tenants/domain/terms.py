"""How long things last and where links lead: what of the settings the use cases decide by."""

from datetime import timedelta
from typing import Final

import msgspec

#: A welcome mail waits in a mailbox for as long as a holiday may last, not longer.
WELCOME_LINK: Final = timedelta(days=7)


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """`frontend_url` has no slash at its end. `grace` is what an unpaid tenant keeps access for."""

    frontend_url: str
    admin_email: str | None
    invitation: timedelta
    claim: timedelta
    grace: timedelta

    def link(self, path: str, token: str) -> str:
        """Where a mail sends its reader, with the token that lets them in once."""
        return f"{self.frontend_url}/{path}?token={token}"
