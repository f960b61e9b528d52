"""The page behind an invoice's address, where a person pays it."""

from html import escape

from testkit.fake_asaas.world import OPEN, Object
from testkit.fake_pix import br_code

_WAYS = (("PIX", "Pix"), ("CREDIT_CARD", "Cartão de crédito"), ("BOLETO", "Boleto"))


def invoice_page(payment: Object, path: str) -> bytes:
    """HTML with a button for each way that the payment can be paid, or what became of it."""
    amount = f"{payment['value'] / 100:,.2f}".replace(",", " ").replace(".", ",")
    if payment["deleted"]:
        state = "<p>Esta cobrança foi removida.</p>"
    elif payment["status"] not in OPEN:
        state = f"<p>Situação: <strong>{escape(payment['status'])}</strong></p>"
    else:
        kind = payment["billingType"]
        ways = [(name, words) for name, words in _WAYS if kind in (name, "UNDEFINED")] or [(kind, kind)]
        buttons = "".join(
            f'<button name="method" value="{escape(name)}">Pagar com {escape(words)}</button> ' for name, words in ways
        )
        state = f'<form method="post" action="{escape(path)}">{buttons}</form>'
        if kind in ("PIX", "UNDEFINED"):
            code = br_code(payment["value"], f"pix.asaas.com/qr/cobv/{payment['id'].removeprefix('pay_')}")
            state += f"<p>Pix copia e cola:</p><textarea readonly rows=4 cols=60>{code}</textarea>"
    return f"""<!doctype html><html lang="pt-BR"><meta charset="utf-8"><title>Asaas (fake)</title>
<body style="font-family:sans-serif;max-width:40em;margin:3em auto">
<h1>Asaas <small>(fake, nenhum dinheiro se move)</small></h1>
<p>{escape(payment["description"] or "Cobrança")}: <strong>R$ {amount}</strong>, vencimento {payment["dueDate"]}</p>
{state}</body></html>""".encode()
