"""What a provider gave as a PIX code is looked at before a payer sees it: a wrong one would move money for good."""

from billing.domain.br_code import BrCodeRefused, parse_br_code
from billing.domain.providers import ChargeCreated, ProviderUnknown


def refuse_wrong_code(made: ChargeCreated, amount_cents: int) -> None:
    """Nothing, for a charge with a code that a bank takes, and that says our amount or leaves it to the charge's own.

    Raises ProviderUnknown: the charge may be there, and the next look at it may show its code.
    """
    if made.pix is None:
        raise ProviderUnknown("The provider answered without a PIX code.", retry_after_s=5)
    try:
        code = parse_br_code(made.pix.copy_paste)
    except BrCodeRefused as error:
        raise ProviderUnknown(f"The provider answered a code that no bank takes: {error}.", retry_after_s=5) from None
    # A dynamic code may leave the amount to the charge that it points to.
    if code.amount_cents not in (None, amount_cents) or (code.amount_cents is None and code.url is None):
        raise ProviderUnknown("The provider answered a code of another amount.", retry_after_s=5)
