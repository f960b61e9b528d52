"""What the mailer refuses to start with, and what stands where a variable is absent."""

import pytest

from chassis.settings import SettingsError, load
from mailer.settings import Settings
from testkit.tokens import new_key_pair

STRONG = "k7Qw9ZrT2mXv5LpN8sBd3FhJ6yGc4WaE1uRo"
GOOD = {
    "DATABASE_URL": "postgresql://db/product",
    "DB_ROLE_SECRET": STRONG,
    "AMQP_URL": "amqps://mailer:q8W3zXc5Vb@broker/prod",
    "INTERNAL_PUBLIC_KEY": new_key_pair()[1],
    "SECRETS_KEY": STRONG[::-1],
    "PORT": "3001",
    "METRICS_PORT": "9001",
    "SENDER_EMAIL": "no-reply@shop.example",
}


def test_outside_local_mode_there_has_to_be_a_sender() -> None:
    with pytest.raises(SettingsError, match="SENDER_EMAIL is missing"):
        load(Settings, GOOD | {"SENDER_EMAIL": ""})
    assert load(Settings, GOOD | {"SENDER_EMAIL": "", "ENVIRONMENT": "local"}).sender_email == "no-reply@mailer.test"


def test_message_ids_are_of_the_senders_domain_unless_another_is_set() -> None:
    assert load(Settings, GOOD).message_id_domain == "shop.example"
    assert load(Settings, GOOD | {"MESSAGE_ID_DOMAIN": "Mail.Padaria-Ó.example"}).message_id_domain == (
        "mail.xn--padaria--23a.example"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SENDER_EMAIL", "somebody"),
        ("SENDER_EMAIL", "a@shop.example\r\nBcc: x@shop.example"),
        ("MESSAGE_ID_DOMAIN", "shop.example>\r\nBcc: x@shop.example"),
        ("MESSAGE_ID_DOMAIN", "shop"),
        ("DEFAULT_LOCALE", "Brazilian Portuguese"),
        ("RENDER_WORKERS", "0"),
        ("MAILS_UNDER_WAY", "0"),
        ("MAIL_LEASE_S", "0"),
        ("MAIL_LEASE_S", "nan"),
        ("SMTP_URL", "http://relay.example"),
        ("SMTP_URL", "smtp://shop:hunter22/x@relay.example"),
    ],
)
def test_refused_by_name_and_without_the_value(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(Settings, GOOD | {name: value})
    said = str(caught.value)
    assert name in said
    assert "hunter22" not in said
    assert len(value) < 6 or value not in said
