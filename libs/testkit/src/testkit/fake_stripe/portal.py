"""The billing portal's sessions."""

from testkit.fake_stripe.forms import Params
from testkit.fake_stripe.world import Object, World


def create_portal(world: World, params: Params, page_url: str) -> Object:
    """POST /v1/billing_portal/sessions."""
    customer_id, return_url = params.required("customer"), params.url("return_url")
    params.text("locale"), params.text("configuration")
    params.done()
    world.get("customer", customer_id, "customer")
    portal_id = world.new_id("bps")
    fields = {
        "configuration": "bpc_1Fake",
        "customer": customer_id,
        "locale": None,
        "return_url": return_url,
        "url": f"{page_url}/p/session/{portal_id}",
    }
    return world.add("billing_portal.session", "bps", fields, object_id=portal_id)
