"""Where links in mails lead to when no front end is set: pages of the gateway's own that call what is in its table."""

import re

import pytest

from gateway.match import Matcher
from gateway.policy import rows_of
from gateway.routes import ROUTES
from gateway.routes.row import Access, Row

from .support import Gateway


@pytest.mark.parametrize("prefix", ["", "/api"])
async def test_each_link_has_a_page_that_loads_nothing_from_elsewhere(gateway: Gateway, prefix: str) -> None:
    for path in ("/reset-password", "/verify-email", "/accept-invitation"):
        page = await gateway.get(f"{prefix}{path}?token=a-token-of-a-mail")
        assert (page.status, page.header("content-type")) == (200, "text/html; charset=utf-8")
        assert b"//" not in page.body
        assert b"a-token-of-a-mail" not in page.body, "nothing of the request is written into the page"
        assert b"default-src 'none'; script-src 'self'; connect-src 'self'" in page.body
        assert (page.header("content-security-policy") or "").startswith("default-src 'self'")
        assert (page.header("cache-control"), page.header("x-frame-options")) == ("no-store", "DENY")
    script = await gateway.get(f"{prefix}/mailed-links.js")
    assert (script.status, script.header("content-type")) == (200, "text/javascript; charset=utf-8")
    assert b"//" not in script.body


async def test_what_the_pages_call_anybody_may_call(gateway: Gateway) -> None:
    matcher: Matcher[Row] = Matcher()
    for _, method, row in rows_of(ROUTES):
        matcher.add(method, row.path, row)
    script = (await gateway.get("/mailed-links.js")).body.decode()
    called = re.findall(r'send\("([a-z/-]+)"([^)]*)', script)
    assert len(called) == 5
    for path, arguments in called:
        method, whole = ("GET", path + "x") if arguments.startswith(" + ") else ("POST", path)
        found = matcher.find(f"/{whole}".encode())
        assert found is not None, path
        assert found[1][method].policy.access is Access.PUBLIC, path
