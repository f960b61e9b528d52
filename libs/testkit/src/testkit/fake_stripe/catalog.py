"""Products, prices and customers."""

from typing import Any

from testkit.fake_stripe.errors import Refusal, invalid
from testkit.fake_stripe.forms import Params
from testkit.fake_stripe.world import Object, World, merge_metadata

INTERVALS = ("day", "week", "month", "year")


def create_product(world: World, params: Params) -> Object:
    """POST /v1/products."""
    product_id = params.text("id")
    fields: Object = {
        "active": params.flag("active") is not False,
        "default_price": None,
        "description": params.text("description"),
        "images": [],
        "metadata": params.metadata() or {},
        "name": params.required("name"),
        "type": "service",
        "updated": world.seconds(),
    }
    params.done()
    if product_id and world.find("product", product_id):
        raise Refusal("Product already exists.", code="resource_already_exists")
    product = world.add("product", "prod", fields, object_id=product_id)
    world.emit("product.created", product)
    return product


def update_product(world: World, params: Params, product_id: str) -> Object:
    """POST /v1/products/{id}."""
    product = world.get("product", product_id)
    name, active, description = params.text("name"), params.flag("active"), params.unsettable("description")
    metadata = params.metadata()
    params.done()
    product["name"] = name or product["name"]
    product["active"] = product["active"] if active is None else active
    product["description"] = product["description"] if description is None else description or None
    merge_metadata(product, metadata)
    product["updated"] = world.seconds()
    world.emit("product.updated", product, {})
    return product


def create_price(world: World, params: Params) -> Object:
    """POST /v1/prices, of a product that is there or of a new one."""
    currency = params.currency("currency") or params.required("currency")
    unit_amount = params.integer("unit_amount")
    product_data, product_id = params.child("product_data"), params.text("product")
    recurring = read_recurring(params)
    lookup_key = params.text("lookup_key", max_length=200)
    metadata, nickname = params.metadata() or {}, params.text("nickname")
    if unit_amount is None:
        raise invalid("Missing required param: unit_amount.", "unit_amount", "parameter_missing")
    if (product_data is None) == (product_id is None):
        raise invalid("You must pass either `product` or `product_data`.", "product", "parameter_missing")
    if product_data is not None:
        name = product_data.required("name")
    params.done()
    if lookup_key and any(True for _ in world.all("price", lookup_key=lookup_key, active=True)):
        raise Refusal(f"A price already uses the lookup key {lookup_key}.", param="lookup_key")
    product = world.get("product", product_id, "product") if product_id else add_product(world, name, None)
    price = add_price(world, product["id"], currency, unit_amount, recurring)
    price |= {"lookup_key": lookup_key, "metadata": metadata, "nickname": nickname}
    world.emit("price.created", price)
    return price


def read_recurring(params: Params) -> Object | None:
    """How often, or None for once."""
    given = params.child("recurring")
    if given is None:
        return None
    interval = given.choice("interval", INTERVALS) or given.required("interval")
    count = given.integer("interval_count", least=1, most=36) or 1
    return {"interval": interval, "interval_count": count, "meter": None, "usage_type": "licensed"}


def add_product(world: World, name: str, description: str | None) -> Object:
    """A product that came with a price."""
    fields: Object = {"active": True, "description": description, "metadata": {}, "name": name, "type": "service"}
    return world.add("product", "prod", fields)


def add_price(world: World, product_id: str, currency: str, unit_amount: int, recurring: Object | None) -> Object:
    """A price."""
    fields: dict[str, Any] = {
        "active": True,
        "billing_scheme": "per_unit",
        "currency": currency,
        "lookup_key": None,
        "metadata": {},
        "nickname": None,
        "product": product_id,
        "recurring": recurring,
        "tax_behavior": "unspecified",
        "type": "recurring" if recurring else "one_time",
        "unit_amount": unit_amount,
        "unit_amount_decimal": str(unit_amount),
    }
    return world.add("price", "price", fields)


def create_customer(world: World, params: Params) -> Object:
    """POST /v1/customers."""
    fields = _customer(params.email("email"), params.text("name"), params.metadata() or {})
    fields["phone"], fields["description"] = params.text("phone"), params.text("description")
    params.done()
    customer = world.add("customer", "cus", fields)
    world.emit("customer.created", customer)
    return customer


def add_customer(world: World, email: str | None, name: str | None) -> Object:
    """A customer whom a Checkout page made."""
    customer = world.add("customer", "cus", _customer(email, name, {}))
    world.emit("customer.created", customer)
    return customer


def _customer(email: str | None, name: str | None, metadata: dict[str, str]) -> Object:
    return {
        "balance": 0,
        "currency": None,
        "delinquent": False,
        "description": None,
        "email": email,
        "metadata": metadata,
        "name": name,
        "phone": None,
    }
