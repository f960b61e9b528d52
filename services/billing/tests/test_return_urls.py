"""A payer is sent back to hosts that are known, whatever the URL tries to look like."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.domain.return_urls import SESSION_ID, asking_for_session, check_return_url, named_session
from contracts.errors import Invalid

HOSTS = frozenset({"shop.example.com", "127.0.0.1", "localhost"})


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example.com/done",
        "https://SHOP.example.com/done",
        "https://shop.example.com:8443/done?a=b&c=%20#end",
        "http://127.0.0.1:3001/checkout/success?session_id={CHECKOUT_SESSION_ID}",
        "http://localhost/{CHECKOUT_SESSION_ID}",
        "https://shop.example.com",
    ],
)
def test_known_hosts_are_passed(url: str) -> None:
    assert check_return_url(url, HOSTS, field="success_url") == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/relative",
        "//shop.example.com/x",
        "https:shop.example.com",
        "https:///shop.example.com",
        "https://evil.example/",
        "https://shop.example.com.evil.example/",
        "https://evil.example/shop.example.com",
        "https://shop.example.com@evil.example/",
        "https://shop.example.com:443@evil.example/",
        "https://user:pass@shop.example.com/",
        "https://@shop.example.com/",
        "https://evil.example\\@shop.example.com/",
        "https://shop.example.com\\.evil.example/",
        "https://shop.example.com%2eevil.example/",
        "https://shop.example.com./",
        "https://evil.example#@shop.example.com/",
        "https://evil.example?@shop.example.com/",
        "https://[shop.example.com]/",
        "https://[::1",
        "https://shop.example.com:x/",
        "https://shop.example.com:99999/",
        "javascript:alert(1)//shop.example.com",
        "data:text/html,shop.example.com",
        "ftp://shop.example.com/",
        "https://shop.example.com/\r\nLocation: https://evil.example",
        "https://shop.example.com/ x",
        "https://shop.example.com/x\n",
        "\thttps://shop.example.com/",
        "https://ｓhop.example.com/",
        "https://shop.example.com/ação",
        "https://{CHECKOUT_SESSION_ID}shop.example.com/",
        "https://shop.example.com/{OTHER}",
        "https://shop.example.com/" + "x" * 2048,
    ],
)
def test_everything_else_is_refused(url: str) -> None:
    with pytest.raises(Invalid) as refusal:
        check_return_url(url, HOSTS, field="success_url")
    assert refusal.value.code == "invalid_return_url"
    assert [error.field for error in refusal.value.errors] == ["success_url"]


@given(st.text(max_size=60), st.sampled_from(["", "https://", "https://shop.example.com", "https://shop.example.com@"]))
def test_what_is_passed_names_a_known_host(text: str, start: str) -> None:
    try:
        passed = check_return_url(start + text, HOSTS, field="x")
    except Invalid:
        return
    assert urlsplit(passed).hostname in HOSTS
    assert passed.isascii()
    assert passed.isprintable()


def test_the_sessions_name() -> None:
    assert asking_for_session("https://a/b") == f"https://a/b?session_id={SESSION_ID}"
    assert asking_for_session("https://a/b?c=d#e") == f"https://a/b?c=d&session_id={SESSION_ID}#e"
    assert asking_for_session(f"https://a/{SESSION_ID}") == f"https://a/{SESSION_ID}"
    assert named_session(asking_for_session("https://a/b"), "order-1") == "https://a/b?session_id=order-1"
