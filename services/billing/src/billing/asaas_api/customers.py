"""Asaas' customers: found again before one is made, so that a person is one customer."""

import re
from collections.abc import Mapping
from typing import Any, Final

from billing.asaas_api.connection import an_object, every, path
from billing.domain.providers import NotAtProvider, Payer
from billing.provider_http import ProviderHttp

#: What seed 002's route takes and Asaas knows; anything else stays out of the request.
_FIELDS: Final = (
    "name",
    "cpfCnpj",
    "email",
    "phone",
    "mobilePhone",
    "address",
    "addressNumber",
    "complement",
    "province",
    "postalCode",
    "notificationDisabled",
    "observations",
)
_NOT_OF_A_TAX_ID: Final = re.compile(r"[^0-9A-Za-z]")


async def ensure_customer(http: ProviderHttp, payer: Payer, *, reference: str) -> str:
    """The id of the payer's customer at Asaas, made only when none is found."""
    if payer.external_id:
        try:
            known = an_object(await http.ask("GET", path("customers", payer.external_id)))
            if not known.get("deleted"):
                return await _completed(http, known, payer.tax_id)
        except NotAtProvider:
            pass
    fields: dict[str, object] = {"name": payer.name or payer.email.partition("@")[0], "email": payer.email}
    if payer.tax_id:
        fields["cpfCnpj"] = payer.tax_id
    if payer.phone:
        fields["mobilePhone"] = payer.phone
    customer = await register_customer(http, fields, reference=reference)
    return await _completed(http, customer, payer.tax_id)


async def register_customer(http: ProviderHttp, fields: Mapping[str, object], *, reference: str) -> dict[str, Any]:
    """Asaas' own object of this person, found by our reference, tax id or mail address, else made.

    Asaas knows no idempotency key: what makes a repeated call harmless is that it looks first.
    """
    body = {name: fields[name] for name in _FIELDS if fields.get(name) is not None}
    body["externalReference"] = reference
    tax_id = _normal(body.get("cpfCnpj"))
    email = body.get("email")
    searches = [{"externalReference": reference}]
    if tax_id:
        searches.append({"cpfCnpj": tax_id})
    if isinstance(email, str) and email:
        searches.append({"email": email})
    for search in searches:
        if found := await _first(http, search, tax_id):
            return found
    return an_object(await http.ask("POST", "/customers", json=body))


async def get_customer(http: ProviderHttp, external_id: str) -> dict[str, Any]:
    """Asaas' own object of a customer. Raises NotAtProvider, also for a deleted one."""
    found = an_object(await http.ask("GET", path("customers", external_id)))
    if found.get("deleted"):
        raise NotAtProvider("Asaas has deleted this customer.")
    return found


async def find_customers(http: ProviderHttp, reference: str) -> list[dict[str, Any]]:
    """Asaas' own objects of the customers with our reference (seed 002: the lead's id), deleted ones left out."""
    found = [one async for one in every(http, "/customers", {"externalReference": reference})]
    return [one for one in found if not one.get("deleted")]


async def _first(http: ProviderHttp, search: Mapping[str, str], tax_id: str) -> dict[str, Any] | None:
    # The filters are Asaas' business, the answer is ours to check: a filter it ignores would give us a stranger.
    [(name, wanted)] = search.items()
    found = [
        one
        async for one in every(http, "/customers", search)
        if _same(name, one.get(name), wanted) and not one.get("deleted")
    ]
    # People share a mail address, not a tax id.
    fitting = [one for one in found if not tax_id or _normal(one.get("cpfCnpj")) in ("", tax_id)]
    return min(fitting, key=lambda one: (str(one.get("dateCreated")), str(one.get("id"))), default=None)


def _same(name: str, found: object, wanted: str) -> bool:
    if name == "cpfCnpj":
        return _normal(found) == _normal(wanted)
    return isinstance(found, str) and found.casefold() == wanted.casefold()


def _normal(tax_id: object) -> str:
    return _NOT_OF_A_TAX_ID.sub("", tax_id).upper() if isinstance(tax_id, str) else ""


async def _completed(http: ProviderHttp, customer: dict[str, Any], tax_id: str | None) -> str:
    external_id = str(customer.get("id", ""))
    if tax_id and not customer.get("cpfCnpj"):  # Asaas charges nobody without one
        await http.ask("PUT", path("customers", external_id), json={"cpfCnpj": tax_id})
    path("customers", external_id)
    return external_id
