"""Forty environments that must not be served from (B27), each refused by its variable's name and without its value."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from chassis.settings import Secret, ServiceSettings, SettingsError, load
from testkit.tokens import new_key_pair

STRONG = "k7Qw9ZrT2mXv5LpN8sBd3FhJ6yGc4WaE1uRo"
GOOD = {
    "DATABASE_URL": "postgresql://postgres@db/product",
    "DB_ROLE_SECRET": STRONG,
    "AMQP_URL": "amqps://mailer:q8W3zXc5Vb@broker:5671/prod",
    "INTERNAL_PUBLIC_KEY": new_key_pair()[1],
    "SECRETS_KEY": STRONG[::-1],
    "PORT": "3001",
    "METRICS_PORT": "9001",
}
REFUSED = [
    *[(name, "") for name in GOOD],
    *[
        ("DB_ROLE_SECRET", value)
        for value in ("x", STRONG[:31], "your-secret-key", "changeme" * 5, "a" * 64, "abab" * 16)
    ],
    ("DB_ROLE_SECRET", "your-256-bit-secret-your-256-bit-secret"),
    ("DB_ROLE_SECRET", "this-is-an-example-secret-of-forty-bytes"),
    ("DB_ROLE_SECRET", "<put a long random string here, please>"),
    ("SECRETS_KEY", "0123456789abcdef0123456789abcdef"),
    ("SECRETS_KEY", "supersecretpassword"),
    ("SECRETS_KEY", "change-me-to-something-long-and-random"),
    ("SECRETS_KEY_PREVIOUS", "short"),
    ("SECRETS_KEY_PREVIOUS", "example-" + STRONG),
    ("DATABASE_URL", "product"),
    ("DATABASE_URL", "mysql://root@db/product"),
    ("DATABASE_URL", "postgresql:///product"),
    ("DATABASE_URL", "postgresql://db"),
    ("DATABASE_URL", "postgresql://db:port/product"),
    ("DATABASE_URL", "postgresql://db:99999/product"),
    ("DATABASE_URL", "postgresql://d b/product"),
    ("AMQP_URL", "http://broker"),
    ("AMQP_URL", "broker:5672"),
    ("AMQP_URL", "amqp://"),
    ("AMQP_URL", "amqp://broker"),
    ("AMQP_URL", "amqp://guest:guest@broker"),
    ("AMQP_URL", "amqp://mailer:password@broker"),
    ("INTERNAL_PUBLIC_KEY", "AAAA"),
    ("INTERNAL_PUBLIC_KEY", "A" * 43),
    ("INTERNAL_PUBLIC_KEY", "not base64 at all, not base64 at all, not!!"),
    ("INTERNAL_PUBLIC_KEY_PREVIOUS", "-----BEGIN PUBLIC KEY-----"),
    ("PORT", "http"),
    ("PORT", "70000"),
    ("METRICS_PORT", "-1"),
    ("ROLE", "everything"),
    ("ENVIRONMENT", "staging"),
    ("LOG_LEVEL", "chatty"),
    ("POOL_SIZE", "0"),
    ("DRAIN_WAIT_S", "soon"),
    ("DRAIN_WAIT_S", "nan"),
    ("SHUTDOWN_GRACE_S", "-1"),
]


def test_a_good_environment_is_taken() -> None:
    settings = load(ServiceSettings, GOOD | {"LOG_LEVEL": "WARNING", "UNRELATED": "x", "SECRETS_KEY_PREVIOUS": ""})
    assert settings.port == 3001
    assert settings.log_level == "warning"
    assert settings.secrets_key_previous is None
    assert settings.db_role_secret.reveal() == STRONG
    assert STRONG not in repr(settings)
    assert f"{settings.db_role_secret}" == "***"


def test_there_are_forty() -> None:
    assert len(REFUSED) >= 40


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(ServiceSettings, GOOD | {name: value})
    said = str(caught.value)
    assert name in said
    if len(value) > 5:
        assert value not in said
        assert value not in repr(caught.value.__cause__)


@pytest.mark.parametrize("name", ["DATABASE_URL", "AMQP_URL"])
@pytest.mark.parametrize("mark", list("/?#[]"))
def test_no_part_of_a_password_that_is_not_encoded_is_quoted(name: str, mark: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(
            ServiceSettings,
            GOOD | {name: f"{GOOD[name].split(':')[0]}://mailer:hunter22{mark}Ab9xQ2@host:5432/product"},
        )
    assert str(caught.value).startswith(f"refusing to start: {name} is refused: ")
    assert "hunter22" not in str(caught.value)


def test_a_short_value_does_not_blank_out_the_words_of_the_refusal() -> None:
    with pytest.raises(SettingsError, match=r"SECRETS_KEY is refused: it is shorter than 32 bytes$"):
        load(ServiceSettings, GOOD | {"SECRETS_KEY": "short"})


def test_all_problems_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        load(ServiceSettings, {})
    assert len(caught.value.problems) == len(GOOD)


def test_local_takes_short_secrets_and_no_missing_ones() -> None:
    assert load(ServiceSettings, GOOD | {"ENVIRONMENT": "local", "SECRETS_KEY": "short"}).secrets_key == Secret("short")
    with pytest.raises(SettingsError):
        load(ServiceSettings, GOOD | {"ENVIRONMENT": "local", "SECRETS_KEY": ""})


def test_lists_are_comma_separated() -> None:
    class Listed(ServiceSettings, frozen=True, kw_only=True):
        origins: list[str]
        sizes: tuple[int, ...] | None = None

    settings = load(Listed, GOOD | {"ORIGINS": "https://a, https://b,", "SIZES": "1,2"})
    assert settings.origins == ["https://a", "https://b"]
    assert settings.sizes == (1, 2)


def test_the_process_exits_with_2_and_says_which() -> None:
    env = {**os.environ, **GOOD, "SECRETS_KEY": "changeme-please", "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(
        [sys.executable, "-m", "chassis", "serve", "sample"],
        env=env,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert "SECRETS_KEY" in done.stderr
    assert "changeme-please" not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
