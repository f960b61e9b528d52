"""The pages that a payer sees: Checkout, a PIX code, the portal. Plain HTML, nothing loaded from elsewhere."""

from html import escape

from testkit.fake_stripe.world import Object, World

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:28rem;margin:4rem auto;padding:0 1rem;color:#1a1f36}"
    "small{color:#697386}h1{font-size:1.3rem}.price{font-size:2rem;margin:.5rem 0}"
    "button{display:block;width:100%;padding:.8rem;margin:.6rem 0;border:1px solid #c1c9d2;border-radius:6px;"
    "background:#fff;font:inherit;cursor:pointer}button.main{background:#635bff;color:#fff;border:0}"
    "input{width:100%;padding:.6rem;box-sizing:border-box;font:inherit}code{word-break:break-all}"
)


def _page(title: str, body: str) -> bytes:
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width,initial-scale=1'>"
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><small>A fake Stripe, for development: no money moves.</small>{body}</body></html>"
    ).encode()


def money(amount: int, currency: str) -> str:
    """An amount as it is written."""
    return f"{currency.upper()} {amount // 100:,}.{amount % 100:02}"


def message(title: str, text: str) -> bytes:
    """A page that only says something."""
    return _page(title, f"<h1>{escape(title)}</h1><p>{escape(text)}</p>")


def checkout_page(world: World, session: Object) -> bytes:
    """What is bought, and three buttons: pay, pay later (the bank will tell), cancel."""
    price = world.get("price", session["_price"])
    product = world.get("product", price["product"])
    interval = f" every {price['recurring']['interval']}" if price["recurring"] else ""
    trial = f"<p>{session['_trial_days']} days free first.</p>" if session["_trial_days"] else ""
    amount = money(session["amount_subtotal"], session["currency"])
    methods = "".join(
        f"<button class=main name=action value='pay:{name}'>Pay by {name}</button>"
        for name in session["payment_method_types"]
    )
    return _page(
        "Checkout",
        f"<h1>{escape(product['name'])}</h1><p>{escape(product['description'] or '')}</p>"
        f"<p class=price>{escape(amount)}{interval}</p>{trial}"
        f"<p>{escape(session['customer_email'] or '')}</p>"
        f"<form method=post><input name=name placeholder='Name' autocomplete=name>{methods}"
        "<button name=action value=later>Pay later (unpaid, delayed)</button>"
        "<button name=action value=cancel formnovalidate>Cancel</button></form>",
    )


def pix_page(intent: Object) -> bytes:
    """The code to copy, and a button that is the payer's bank."""
    code = intent["next_action"]["pix_display_qr_code"]["data"]
    return _page(
        "PIX",
        f"<h1>PIX</h1><p class=price>{escape(money(intent['amount'], intent['currency']))}</p>"
        f"<p><code>{escape(code)}</code></p>"
        "<form method=post><button class=main name=action value=pay>Pay</button>"
        "<button name=action value=expire>Let it expire</button></form>",
    )


def invoice_page(invoice: Object) -> bytes:
    """An invoice, and a button where it is open."""
    button = "<form method=post><button class=main name=action value=pay>Pay</button></form>"
    return _page(
        "Invoice",
        f"<h1>Invoice {escape(invoice['number'])}</h1>"
        f"<p class=price>{escape(money(invoice['amount_due'], invoice['currency']))}</p>"
        f"<p>{escape(invoice['status'])}</p>{button if invoice['status'] == 'open' else ''}",
    )


def portal_page(world: World, portal: Object) -> bytes:
    """The customer's subscriptions, to be ended with their period or kept."""
    rows = ""
    for subscription in world.all("subscription", customer=portal["customer"]):
        price = subscription["items"]["data"][0]["price"]
        product = world.get("product", price["product"])
        action, label = ("resume", "Keep it") if subscription["cancel_at"] else ("cancel", "Cancel at the period's end")
        button = f"<button name=action value='{action}:{escape(subscription['id'])}'>{label}</button>"
        rows += (
            f"<h1>{escape(product['name'])}</h1><p>{escape(money(price['unit_amount'], price['currency']))},"
            f" {escape(subscription['status'])}</p>{'' if subscription['ended_at'] else button}"
        )
    back = portal["return_url"]
    link = f"<p><a href='{escape(back, quote=True)}'>Return</a></p>" if back else ""
    return _page("Portal", f"<form method=post>{rows or '<p>Nothing here.</p>'}</form>{link}")
