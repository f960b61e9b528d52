"""Tokens: what is accepted, and the hostile list through both doors; times are exact at the leeway."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from contracts.errors import Unauthenticated
from gateway.policy import ALL_PERMISSIONS
from gateway.tokens import Claims, TokenVerifier, tenant_id

from .support import PRIVATE_KEY, SECRET, TENANT, Gateway, Service, bearer, token

NOW = 1_800_000_000
GOOD: dict[str, Any] = {"sub": "ana", "exp": NOW + 600, "tenant_id": TENANT, "role": "owner"}
ALG: dict[str, Any] = {"alg": "HS256", "typ": "JWT"}


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def sign(header: Any, payload: Any, *, key: bytes = SECRET.encode(), digest: Any = hashlib.sha256) -> str:
    """A token with exactly these bytes; str and bytes are taken as they are, the rest becomes JSON."""
    parts = [
        value if isinstance(value, bytes) else (value if isinstance(value, str) else json.dumps(value)).encode()
        for value in (header, payload)
    ]
    signed = ".".join(b64(part) for part in parts)
    return f"{signed}.{b64(hmac.new(key, signed.encode(), digest).digest())}"


def good(**claims: Any) -> str:
    return sign(ALG, {**GOOD, **claims})


def without(name: str) -> str:
    return sign(ALG, {key: value for key, value in GOOD.items() if key != name})


def raw_claim(name: str, literal: str) -> str:
    """A good token in whose payload one claim is this JSON text."""
    rest = json.dumps({key: value for key, value in GOOD.items() if key != name})[1:]
    return sign(ALG, f'{{"{name}":{literal},{rest}')


def hostile() -> dict[str, str]:
    """Everything that must be refused, by name; times are relative to NOW."""
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public_pem = rsa_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    pkcs1_pem = rsa_key.public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1)
    ec_key = ec.generate_private_key(ec.SECP256R1())
    header, payload, signature = good().split(".")
    payload_json = json.dumps(GOOD)
    last = signature[-1]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = alphabet[alphabet.index(last) ^ 1]  # differs only in bits that decode to nothing
    cases = {f"alg {alg!r}": sign({"alg": alg, "typ": "JWT"}, GOOD) for alg in ("none", "None", "nOnE", "NONE", "")}
    cases |= {f"alg {alg!r} unsigned": sign({"alg": alg}, GOOD).rsplit(".", 1)[0] + "." for alg in ("none", "nOnE")}
    cases |= {
        f"alg {alg}": sign({"alg": alg, "typ": "JWT"}, GOOD) for alg in ("hs256", "HS 256", "RS256", "EdDSA", "HS256 ")
    }
    cases |= {
        "alg missing": sign({"typ": "JWT"}, GOOD),
        "alg null": sign({"alg": None}, GOOD),
        "alg list": sign({"alg": ["HS256"]}, GOOD),
        "RS256": jwt.encode(GOOD, rsa_key, algorithm="RS256"),
        "ES256": jwt.encode(GOOD, ec_key, algorithm="ES256"),
        "ES256 zero signature": f"{b64(json.dumps({'alg': 'ES256'}).encode())}.{payload}.{b64(bytes(64))}",
        "HS384": sign({"alg": "HS384"}, GOOD, digest=hashlib.sha384),
        "HS512": sign({"alg": "HS512"}, GOOD, digest=hashlib.sha512),
        "HS256 with the public PEM": sign(ALG, GOOD, key=public_pem),
        "HS256 with the PKCS1 PEM": sign(ALG, GOOD, key=pkcs1_pem),
        "HS256 with a JWK": sign(ALG, GOOD, key=b'{"kty":"oct","k":"c2VjcmV0"}'),
        "weak secret": sign(ALG, GOOD, key=b"secret"),
        "example secret": sign(ALG, GOOD, key=b"your-secret-key"),
        "empty secret": sign(ALG, GOOD, key=b""),
        "rotated out": sign(ALG, GOOD, key=b"an older secret that nobody configured"),
        "empty signature": f"{header}.{payload}.",
        "no signature": f"{header}.{payload}",
        "signature only": f"..{signature}",
        "four segments": f"{good()}.x",
        "five segments (JWE)": f"{header}.x.y.{payload}.{signature}",
        "signature of another": f"{header}.{b64(json.dumps({**GOOD, 'sub': 'rui'}).encode())}.{signature}",
        "signature padded": f"{good()}=",
        "payload padded": f"{header}.{payload}=.{signature}",
        "trailing bits": f"{header}.{payload}.{signature[:-1]}{twin}",
        "standard alphabet": f"{header}.{payload}.{signature[:-1]}+",
        "exclamation mark": f"{header}.{payload}!.{signature}",
        "space before": f" {good()}",
        "space inside": f"{header} .{payload}.{signature}",
        "tab": f"{header}.{payload}\t.{signature}",
        "NUL escaped": f"{header}.{payload}%00.{signature}",
        "jku": sign({**ALG, "jku": "https://evil/keys"}, GOOD),
        "x5u": sign({**ALG, "x5u": "https://evil/cert"}, GOOD),
        "jwk": sign({**ALG, "jwk": {"kty": "oct", "k": "YQ"}}, GOOD),
        "x5c": sign({**ALG, "x5c": ["a"]}, GOOD),
        "crit": sign({**ALG, "crit": ["exp"]}, GOOD),
        "crit unknown": sign({**ALG, "crit": ["http://x"], "http://x": 1}, GOOD),
        "b64 false": sign({**ALG, "b64": False, "crit": ["b64"]}, GOOD),
        "zip": sign({**ALG, "zip": "DEF"}, GOOD),
        "kid path": sign({**ALG, "kid": "../../dev/null"}, GOOD),
        "kid URL": sign({**ALG, "kid": "https://evil/k"}, GOOD),
        "kid list": sign({**ALG, "kid": ["1"]}, GOOD),
        "kid null": sign({**ALG, "kid": None}, GOOD),
        "kid number": sign({**ALG, "kid": 1}, GOOD),
        "kid long": sign({**ALG, "kid": "k" * 300}, GOOD),
        "kid control": sign({**ALG, "kid": "a\u0000b"}, GOOD),
        "header duplicate alg": sign('{"alg":"none","alg":"HS256"}', GOOD),
        "header list": sign('["HS256"]', GOOD),
        "header deep": sign('{"alg":"HS256","typ":' + "[" * 200 + "]" * 200 + "}", GOOD),
        "header not UTF-8": sign(b'{"alg":"HS256","typ":"\xff"}', GOOD),
        "header long": sign('{"alg":"HS256"' + " " * 600 + "}", GOOD),
        "typ": sign({"alg": "HS256", "typ": "JWE"}, GOOD),
        "cty": sign({**ALG, "cty": "JWT"}, GOOD),
        "payload list": sign(ALG, [GOOD]),
        "payload string": sign(ALG, '"ana"'),
        "payload empty": sign(ALG, b""),
        "payload not JSON": sign(ALG, b"{"),
        "payload not UTF-8": sign(ALG, b'{"sub":"\xff"}'),
        "payload deep": sign(ALG, payload_json[:-1] + ',"x":' + "[" * 900 + "]" * 900 + "}"),
        "payload nested": sign(ALG, payload_json[:-1] + ',"x":' + '{"a":' * 40 + "1" + "}" * 40 + "}"),
        "payload trailing": sign(ALG, payload_json + "x"),
        "payload BOM": sign(ALG, b"\xef\xbb\xbf" + payload_json.encode()),
        "payload NaN": sign(ALG, payload_json[:-1] + ',"x":NaN}'),
        "long": good(padding="x" * 6000),
        "exp missing": without("exp"),
        "exp null": good(exp=None),
        "exp past": good(exp=NOW - 31),
        "exp string": good(exp=str(NOW + 600)),
        "exp float": good(exp=NOW + 600.5),
        "exp whole float": raw_claim("exp", f"{NOW + 600}.0"),
        "exp exponent": raw_claim("exp", "2e9"),
        "exp NaN": raw_claim("exp", "NaN"),
        "exp Infinity": raw_claim("exp", "Infinity"),
        "exp 1e400": raw_claim("exp", "1e400"),
        "exp huge": good(exp=9 * 10**18),
        "exp 5000 digits": raw_claim("exp", "9" * 1500),
        "exp true": good(exp=True),
        "exp negative": good(exp=-1),
        "exp zero": good(exp=0),
        "exp list": good(exp=[NOW + 600]),
        "exp duplicate": sign(ALG, f'{{"exp":{NOW - 900},{payload_json[1:]}'),
        "nbf future": good(nbf=NOW + 31),
        "nbf string": good(nbf="0"),
        "nbf bool": good(nbf=True),
        "iat future": good(iat=NOW + 31),
        "iat float": good(iat=NOW - 0.5),
        "iat null": good(iat=None),
        "sub missing": without("sub"),
        "sub number": good(sub=7),
        "sub null": good(sub=None),
        "sub list": good(sub=["ana"]),
        "sub object": good(sub={"id": "ana"}),
        "sub empty": good(sub=""),
        "sub NUL": good(sub="ana\u0000"),
        "sub newline": good(sub="ana\r\nx-internal-identity: x"),
        "sub long": good(sub="a" * 200),
        "sub duplicate": sign(ALG, '{"sub":"root",' + payload_json[1:]),
        "tenant list": good(tenant_id=[TENANT]),
        "tenant number": good(tenant_id=1),
        "tenant false": good(tenant_id=False),
        "tenant object": good(tenant_id={}),
        "tenant empty": good(tenant_id="", role="superadmin"),
        "tenant blank": good(tenant_id=" ", role="superadmin"),
        "tenant the platform's": good(tenant_id=str(UUID(int=0)), role="superadmin"),
        "tenant twice": good(tenantId="99999999-2222-4333-8444-555555555555"),
        "tenant duplicate": sign(ALG, '{"tenant_id":"x",' + payload_json[1:]),
        "tenants string of platform": good(tenants=str(UUID(int=0))),
        "tenants numbers": good(tenants=[1]),
        "role number": good(role=1),
        "role nested": good(role=[["owner"]]),
        "role object": good(role={"name": "owner"}),
        "permissions object": good(permissions={"*": True}),
        "permissions numbers": good(permissions=[1]),
        "refresh": good(type="refresh"),
        "refresh by use": good(token_use="refresh"),
        "internal token": jwt.encode(GOOD, _internal_key(), algorithm="EdDSA"),
        "surrogate": sign(ALG, payload_json[:-1].replace("ana", "\\ud800") + "}"),
    }
    return cases


def _internal_key() -> Any:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(base64.urlsafe_b64decode(PRIVATE_KEY + "=" * (-len(PRIVATE_KEY) % 4)))


HOSTILE = hostile()


def verifier(**options: Any) -> TokenVerifier:
    return TokenVerifier([SECRET], now=lambda: NOW, platform_admin_roles=frozenset({"superadmin"}), **options)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_token_is_refused(name: str) -> None:
    with pytest.raises(Unauthenticated) as refused:
        verifier().verify(HOSTILE[name].encode("utf-8", "surrogatepass"))
    assert refused.value.code == "invalid_token"


def test_the_list_is_as_long_as_promised() -> None:
    assert len(HOSTILE) >= 100
    verifier().verify(good().encode())  # what they are variations of is good


async def test_the_list_through_both_doors(service: Service, launch: Callable[..., Awaitable[Gateway]]) -> None:
    gateway = await launch(upstream_mailer=service.url)
    timeless = {name: value for name, value in HOSTILE.items() if name.split()[0] not in ("exp", "iat", "nbf")}
    assert len(timeless) >= 80
    slow: list[str] = []
    for name, value in timeless.items():
        text = value.encode("utf-8", "surrogatepass").decode("latin-1")
        for headers in (bearer(text), {"Cookie": f"jwt={text}"}):
            started_at = time.perf_counter()
            answer = await gateway.get("/emails", headers)
            if time.perf_counter() - started_at > 0.5:
                slow.append(name)
            assert answer.status in (400, 401), name
            if answer.status == 401:
                assert b"token" in answer.body, name
    assert not service.seen
    assert not slow
    for size in (16_400, 10_000_000):
        raw = await gateway.raw(
            b"GET /emails HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + b"a" * size + b"\r\n\r\n"
        )
        assert raw.startswith(b"HTTP/1.1 431 ") or raw == b""  # a reset may outrun the answer to 10 MB
    assert (await gateway.get("/emails", bearer(token()))).status == 200


def test_times_are_exact_at_the_leeway() -> None:
    for claims, accepted in (
        ({"exp": NOW - 29}, True),
        ({"exp": NOW - 30}, False),
        ({"nbf": NOW + 30}, True),
        ({"nbf": NOW + 31}, False),
        ({"iat": NOW + 30}, True),
        ({"iat": NOW + 31}, False),
    ):
        if accepted:
            verifier().verify(good(**claims).encode())
        else:
            with pytest.raises(Unauthenticated):
                verifier().verify(good(**claims).encode())


def test_a_remembered_token_expires_on_time() -> None:
    now = [float(NOW)]
    known = TokenVerifier([SECRET], now=lambda: now[0])
    value = good(exp=NOW + 10).encode()
    first = known.verify(value)
    assert known.verify(value) is first
    now[0] = NOW + 39.9
    assert known.verify(value) is first
    now[0] = NOW + 40
    with pytest.raises(Unauthenticated):
        known.verify(value)


def test_memory_is_bounded() -> None:
    known = verifier(max_cached=10)
    for number in range(100):
        known.verify(good(sub=f"u{number}").encode())
    assert len(known._known) == 10


def test_the_previous_secret_still_counts() -> None:
    previous = "the secret before this one, long enough"
    value = sign(ALG, GOOD, key=previous.encode()).encode()
    with pytest.raises(Unauthenticated):
        verifier().verify(value)
    assert TokenVerifier([SECRET, previous], now=lambda: NOW).verify(value).subject == "ana"


def test_issuer_and_audience_only_when_configured() -> None:
    verifier().verify(good(iss="anyone", aud=["x"]).encode())
    ours = verifier(issuer="go-core", audience="backoffice")
    ours.verify(good(iss="go-core", aud="backoffice").encode())
    ours.verify(good(iss="go-core", aud=["other", "backoffice"]).encode())
    for claims in (
        {},
        {"iss": "go-core"},
        {"aud": "backoffice"},
        {"iss": "go", "aud": "backoffice"},
        {"iss": ["go-core"], "aud": "backoffice"},
        {"iss": "go-core-2", "aud": "backoffice"},
        {"iss": "go-core", "aud": "back"},
        {"iss": "go-core", "aud": "backoffice2"},
        {"iss": "go-core", "aud": [["backoffice"]]},
        {"iss": "go-core", "aud": {"backoffice": 1}},
        {"iss": "go-core", "aud": None},
    ):
        with pytest.raises(Unauthenticated):
            ours.verify(good(**claims).encode())


def test_claims_of_the_older_systems() -> None:
    nexus = {"userId": "u-1", "email": "a@b.c", "role": "admin", "tenantId": "default", "exp": NOW + 60}
    principal = verifier().verify(sign(ALG, nexus).encode())
    assert (principal.subject, principal.tenants) == ("u-1", (tenant_id("default"),))
    assert principal.permissions == ALL_PERMISSIONS
    admin = {"userId": "u-1", "role": "superadmin", "tenantId": None, "exp": NOW + 60}
    assert verifier().verify(sign(ALG, admin).encode()).kind == "platform_admin"
    assert verifier().verify(sign(ALG, {**admin, "tenantId": "default"}).encode()).kind == "user"
    mapped = verifier(claims=Claims(subject=("uid",), tenant=("company",), roles=("profile",)))
    principal = mapped.verify(sign(ALG, {"uid": "7", "company": TENANT, "profile": "user", "exp": NOW + 60}).encode())
    assert (principal.subject, principal.tenants, principal.roles) == ("7", (UUID(TENANT),), ("user",))


def test_a_word_is_always_the_same_tenant() -> None:
    assert tenant_id("default") == UUID("51e7eb38-ea2e-5372-9fe7-0373c70da0c5")  # imports rely on it
    assert tenant_id("default") != tenant_id("Default")
    assert tenant_id(TENANT.upper()) == UUID(TENANT)
    assert tenant_id("") is tenant_id("a b") is tenant_id("a\n") is tenant_id("x" * 200) is None
