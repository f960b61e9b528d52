"""How often somebody may try what guesses at an account or writes mail to one."""

from typing import Final

from tenants.domain.rate import Limit

#: Failed sign-ins of one account; a success forgets them.
ACCOUNT: Final = Limit("sign_in_account", 8, 900)
#: Failed sign-ins from one address, whoever's accounts; a success gives its own try back, no more.
ADDRESS: Final = Limit("sign_in_address", 40, 900)
#: Codes of one account's second factor.
SECOND_FACTOR: Final = Limit("second_factor", 5, 300)
#: Mails that a stranger can have us write to one address.
MAILS: Final = Limit("account_mails", 5, 3600)
#: Requests for such mails, and registrations, from one address.
MAIL_REQUESTS: Final = Limit("account_mail_requests", 40, 900)
