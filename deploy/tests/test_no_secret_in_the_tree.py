"""Nothing in the repository opens anything: the earlier systems had live keys, a VPN's key and passwords in theirs."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: What keys of providers and of ourselves look like, whatever they open. Those in tests are made there, or are words.
SHAPES = {
    "a private key": r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----\s*\n[A-Za-z0-9+/=]{20,}",
    "a VPN's key": r"(?m)^\s*PrivateKey\s*=\s*[A-Za-z0-9+/]{43}=",
    "a Stripe key": r"\b[sr]k_live_[0-9a-zA-Z]{16,}",
    "a webhook's secret": r"\bwhsec_[0-9a-zA-Z+/]{32,}",
    "an Asaas key": r"\$aact_(?:prod|hmlg)?_?[0-9a-zA-Z:=]{40,}",
    "an AWS key": r"\bAKIA[0-9A-Z]{16}\b",
    "a GitHub token": r"\bgh[pousr]_[0-9A-Za-z]{36}",
    "a Google key": r"\bAIza[0-9A-Za-z_-]{35}",
    "an API key of ours": r"\bnxs_[0-9a-f]{64}\b",
    "a signed token": r"\beyJ[0-9A-Za-z_-]{20,}\.eyJ[0-9A-Za-z_-]{20,}\.[0-9A-Za-z_-]{40,}",
    "a password in a URL": r"://[^:/@\s{}$<>\"']+:[^:/@\s{}$<>\"']{6,}@[a-z0-9.-]+\.(?:com|net|org|io|dev|cloud|br)\b",
}

#: Made up for tests, in the provider's own spelling; they open nothing.
MADE_UP = ("whsec_Qe7rTy41uIoP9aSdFgH2jKlZxCvBnM6w", "whsec_Mn3bVc82xZl5kJhGfDsA7pOiUyTrEw1q")


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    names = listed.stdout.decode().split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def found_in(text: str) -> set[str]:
    for made_up in MADE_UP:
        text = text.replace(made_up, "")
    return {kind for kind, shape in SHAPES.items() if re.search(shape, text)}


def test_no_file_holds_a_secret() -> None:
    """2.2, item 25."""
    files = tracked()
    if not files:
        pytest.skip("this is no checkout")
    found = {}
    for path in files:
        kinds = found_in(path.read_bytes().decode("utf-8", "replace"))
        if kinds:
            found[str(path.relative_to(ROOT))] = kinds
    assert found == {}


def test_no_file_is_an_environment_or_a_key() -> None:
    doomed = re.compile(r"(^|/)\.env(\.[a-z]+)?$|\.(pem|key|p12|pfx|ovpn|kdbx)$|(^|/)id_(rsa|ed25519)$")
    assert [str(path) for path in tracked() if doomed.search(str(path.relative_to(ROOT)))] == []


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("a private key", "-----BEGIN RSA PRIVATE KEY-----\n" + "MIIEpAIBAAKCAQEA" * 3),
        ("a VPN's key", "PrivateKey = " + "a" * 43 + "="),
        ("a Stripe key", "STRIPE_SECRET_KEY=sk_live_" + "4eC39HqLyjWDarjt"),
        ("a webhook's secret", "whsec_" + "a1B2" * 8),
        ("an AWS key", "AKIA" + "IOSFODNN7EXAMPLE"),
        ("an API key of ours", "Bearer nxs_" + "0f" * 32),
        ("a signed token", "eyJ" + "a" * 30 + ".eyJ" + "b" * 30 + "." + "c" * 43),
        ("a password in a URL", "postgresql://nexus:" + "S3cr3tPassw0rd@db1.nexusatemporal.com/crm"),
    ],
)
def test_it_would_be_found(kind: str, text: str) -> None:
    assert found_in(text) == {kind}
