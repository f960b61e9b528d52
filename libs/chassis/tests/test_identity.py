"""Only the gateway's live token for this very service passes."""

import base64
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chassis.identity import CACHE_SIZE, Identity, IdentitySigner, IdentityVerifier, tenant_of
from contracts.errors import Malformed, Unauthenticated
from contracts.tenancy import PLATFORM_TENANT_ID
from testkit.tokens import new_key_pair

from .client import Client

PRIVATE, PUBLIC = new_key_pair()
KEY = Ed25519PrivateKey.from_private_bytes(base64.urlsafe_b64decode(PRIVATE + "=" * (-len(PRIVATE) % 4)))


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    made = {
        "iss": "gateway", "aud": "sample", "sub": "u", "tenant": str(uuid4()), "roles": ["owner"], "kind": "user",
        "permissions": ["a:b"], "iat": now, "exp": now + 60, "jti": "1",
    }  # fmt: skip
    return {key: value for key, value in (made | changes).items() if value is not ...}


def segment(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def signed(header: object, payload: object) -> str:
    head = f"{segment(header)}.{segment(payload)}"
    return f"{head}.{base64.urlsafe_b64encode(KEY.sign(head.encode())).rstrip(b'=').decode()}"


def bad_tokens() -> dict[str, str]:
    now = int(time.time())
    good = jwt.encode(claims(), KEY, algorithm="EdDSA")
    head, payload, signature = good.split(".")
    other = Ed25519PrivateKey.generate()
    public = KEY.public_key().public_bytes_raw()
    changes: dict[str, dict[str, Any]] = {
        "expired": {"exp": now - 10, "iat": now - 70},
        "no exp": {"exp": ...},
        "exp a string": {"exp": str(now + 60)},
        "exp a float": {"exp": now + 60.5},
        "exp a bool": {"exp": True},
        "exp null": {"exp": None},
        "exp negative": {"exp": -1},
        "exp a list": {"exp": [now + 60]},
        "exp huge": {"exp": 10**30},
        "iat in the future": {"iat": now + 600},
        "no iat": {"iat": ...},
        "iat a string": {"iat": str(now)},
        "another service": {"aud": "mailer"},
        "aud a list": {"aud": ["sample"]},
        "aud a prefix": {"aud": "sampl"},
        "aud longer": {"aud": "sample2"},
        "no aud": {"aud": ...},
        "aud null": {"aud": None},
        "another issuer": {"iss": "gateway2"},
        "iss a list": {"iss": ["gateway"]},
        "iss a substring": {"iss": "gate"},
        "no iss": {"iss": ...},
        "no sub": {"sub": ...},
        "sub a number": {"sub": 5},
        "sub null": {"sub": None},
        "sub a list": {"sub": ["u"]},
        "no jti": {"jti": ...},
        "tenant a list": {"tenant": [str(uuid4())]},
        "tenant no uuid": {"tenant": "1"},
        "tenant a number": {"tenant": 5},
        "roles a string": {"roles": "owner"},
        "roles of numbers": {"roles": [1]},
        "permissions a string": {"permissions": "*"},
        "no kind": {"kind": ...},
        "unknown kind": {"kind": "god"},
        "10 kB": {"sub": "x" * 10_000},
    }  # fmt: skip
    header = {"alg": "EdDSA", "typ": "JWT"}
    tokens = {name: signed(header, claims(**change)) for name, change in changes.items()}
    tokens["exp huge"] = signed({"alg": "EdDSA", "typ": "JWT"}, claims(exp=10**400))
    for alg in ("none", "None", "nOnE", "NONE", "", "HS256", "RS256", "ES256", "EdDSA2", None, 1):
        tokens[f"alg {alg}"] = signed({"alg": alg, "typ": "JWT"}, claims())
    tokens |= {
        "signed by another": jwt.encode(claims(), other, algorithm="EdDSA"),
        "HS256 with the public key": jwt.encode(claims(), public, algorithm="HS256"),
        "HS256 with the public key's text": jwt.encode(claims(), PUBLIC, algorithm="HS256"),
        "alg none, no signature": f"{segment({'alg': 'none'})}.{payload}.",
        "no alg": signed({"typ": "JWT"}, claims()),
        "header a list": signed([], claims()),
        "payload a list": signed({"alg": "EdDSA"}, []),
        "payload a string": signed({"alg": "EdDSA"}, "x"),
        "unknown crit": signed({"alg": "EdDSA", "crit": ["x"], "x": 1}, claims()),
        "b64 false": signed({"alg": "EdDSA", "crit": ["b64"], "b64": False}, claims()),
        "empty signature": f"{head}.{payload}.",
        "zero signature": f"{head}.{payload}.{'A' * 86}",
        "half a signature": f"{head}.{payload}.{signature[:43]}",
        "another payload": f"{head}.{segment(claims(sub='admin'))}.{signature}",
        "two segments": f"{head}.{payload}",
        "one segment": head,
        "four segments": f"{good}.x",
        "five segments": f"{good}.x.y",
        "empty": "",
        "dots": "..",
        "spaces": " ",
        "Bearer": f"Bearer {good}",
        "trailing newline, encoded": f"{good}%0a",
        "padding": f"{good}==",
        "bang": f"{head}.{payload}!.{signature}",
        "NUL": f"{head}\0.{payload}.{signature}",
        "latin-1": f"{head}é.{payload}.{signature}",
        "deep header": f"{base64.urlsafe_b64encode(b'[' * 5000).decode().rstrip('=')}.{payload}.{signature}",
        "1 MB": "x" * 1_000_000,
    }  # fmt: skip
    return tokens


def test_what_is_refused() -> None:
    verifier = IdentityVerifier([PUBLIC], "sample")
    tokens = bad_tokens()
    assert len(tokens) >= 70
    for name, token in tokens.items():
        began = time.process_time()
        with pytest.raises(Unauthenticated):
            raise AssertionError(f"{name}: {verifier.verify(token)}")
        assert time.process_time() - began < 0.5, name


def test_the_signers_token_is_taken_by_its_service_only() -> None:
    signer = IdentitySigner(PRIVATE)
    assert signer.public_key == PUBLIC
    identity = Identity(
        subject="u", tenant_id=uuid4(), roles=("owner",), permissions=frozenset({"a:b"}), kind="api_key"
    )
    token = signer.sign(identity, "sample")
    assert IdentityVerifier([PUBLIC], "sample").verify(token) == identity
    assert signer.sign(identity, "sample") == token
    with pytest.raises(Unauthenticated):
        IdentityVerifier([PUBLIC], "mailer").verify(token)


def test_both_keys_during_a_rotation_and_one_after() -> None:
    new_private, new_public = new_key_pair()
    verifier = IdentityVerifier([new_public, PUBLIC], "sample")
    for private in (PRIVATE, new_private):
        verifier.verify(IdentitySigner(private).sign(Identity(subject="u"), "sample"))
    with pytest.raises(Unauthenticated):
        IdentityVerifier([new_public], "sample").verify(IdentitySigner(PRIVATE).sign(Identity(subject="u"), "sample"))


def test_a_cached_token_expires_too_and_the_cache_is_bounded() -> None:
    now = datetime.now(UTC)
    signer, verifier = (
        IdentitySigner(PRIVATE, clock=lambda: now),
        IdentityVerifier([PUBLIC], "sample", clock=lambda: now),
    )
    token = signer.sign(Identity(subject="u"), "sample")
    verifier.verify(token)
    now += timedelta(seconds=64)
    verifier.verify(token)
    now += timedelta(seconds=2)
    with pytest.raises(Unauthenticated):
        verifier.verify(token)
    assert signer.sign(Identity(subject="u"), "sample") != token
    for number in range(CACHE_SIZE + 10):
        verifier._cache[str(number)] = (Identity(subject="x"), 0)
        if len(verifier._cache) >= CACHE_SIZE:
            break
    verifier.verify(signer.sign(Identity(subject="new"), "sample"))
    assert len(verifier._cache) <= CACHE_SIZE


def test_tenant_of() -> None:
    tenant_id = uuid4()
    assert tenant_of(Identity(subject="u", tenant_id=tenant_id)) == tenant_id
    assert tenant_of(Identity(subject="u", kind="platform_admin")) == PLATFORM_TENANT_ID
    with pytest.raises(Malformed, match="x-tenant-id"):
        tenant_of(Identity(subject="u"))


async def test_at_the_door(client: Client) -> None:
    assert (await client.http.get("/health/live")).status_code == 200
    assert (await client.http.get("/health/ready")).status_code == 200
    for path in ("/notes", "/nothing", "/openapi.json", "/metrics", "/health", "/openapi"):
        refused = await client.http.get(path)
        assert refused.status_code == 401, path
        assert refused.headers["www-authenticate"].startswith("Bearer")
        assert refused.headers["content-type"] == "application/problem+json"
    token = client.headers()["X-Internal-Identity"]
    twice = [("X-Internal-Identity", token), ("X-Internal-Identity", token)]
    assert (await client.http.get("/notes", headers=twice)).status_code == 401
    assert (await client.http.get("/notes", headers={"Authorization": f"Bearer {token}"})).status_code == 401
    assert (await client.http.get("/notes", headers={"X-User-Id": "1", "X-Tenant-Id": str(uuid4())})).status_code == 401


async def test_permissions(client: Client) -> None:
    async def status(**identity: Any) -> int:
        token = client.identities.token("sample", **({"tenant_id": uuid4()} | identity))
        return (await client.http.get("/notes", headers={"X-Internal-Identity": token})).status_code

    assert await status(permissions=["notes:read"]) == 200
    assert await status(permissions=["*"]) == 200
    assert await status(permissions=[], kind="platform_admin") == 200
    assert await status(permissions=[], kind="platform_admin", tenant_id=None) == 200
    for permissions in ([], ["notes"], ["notes:*"], ["notes:write"], ["NOTES:READ"], [""]):
        assert await status(permissions=permissions) == 403, permissions
    assert await status(permissions=["notes:read"], tenant_id=None) == 400
