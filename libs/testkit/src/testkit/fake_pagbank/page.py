"""The page behind a checkout's PAY link, where a person pays it."""

from html import escape

from testkit.fake_pagbank.world import Object

_WAYS = {
    "CREDIT_CARD": "cartão de crédito",
    "DEBIT_CARD": "cartão de débito",
    "PIX": "Pix",
    "BOLETO": "boleto",
}


def checkout_page(checkout: Object, path: str) -> bytes:
    """HTML with a button for each way to pay, or what became of the checkout and the way back to the shop."""
    cents = sum(item["unit_amount"] * item["quantity"] for item in checkout["items"])
    amount = f"{cents / 100:,.2f}".replace(",", " ").replace(".", ",")
    what = ", ".join(escape(str(item["name"])) for item in checkout["items"])
    if checkout["status"] == "ACTIVE":
        ways = [method["type"] for method in checkout.get("payment_methods", [])] or list(_WAYS)
        buttons = " ".join(f'<button name="method" value="{way}">Pagar com {_WAYS[way]}</button>' for way in ways)
        state = f'<form method="post" action="{escape(path)}">{buttons}</form>'
        if back := checkout.get("return_url"):
            state += f'<p><a href="{escape(back)}">Desistir</a></p>'
    else:
        state = f"<p>Situação: <strong>{escape(checkout['status'])}</strong></p>"
        if back := checkout.get("redirect_url"):
            state += f'<p><a href="{escape(back)}">Voltar à loja</a></p>'
    return f"""<!doctype html><html lang="pt-BR"><meta charset="utf-8"><title>PagBank (fake)</title>
<body style="font-family:sans-serif;max-width:40em;margin:3em auto">
<h1>PagBank <small>(fake, nenhum dinheiro se move)</small></h1>
<p>{what}: <strong>R$ {amount}</strong></p>
{state}</body></html>""".encode()
