"""One canonical path: what the policy was decided on is what the service routes on, for thousands of spellings."""

import posixpath
from collections.abc import Awaitable, Callable
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.errors import Malformed
from gateway.match import Matcher
from gateway.paths import check_target
from gateway.refusals import UriTooLong
from gateway.routes.row import PLATFORM_ADMIN, PUBLIC, Row

from .support import Gateway, Service

Launch = Callable[..., Awaitable[Gateway]]
TABLE = {
    "mailer": (
        Row("GET", "/open", PUBLIC),
        Row("GET", "/open/{id}", PUBLIC),
        Row("GET", "/open/{id}/{part}", PUBLIC),
        Row("GET", "/open/admin", PLATFORM_ADMIN),
        Row("GET", "/open/{id}/admin", PLATFORM_ADMIN),
        Row("GET", "/admin", PLATFORM_ADMIN),
        Row("GET", "/admin/{id}", PLATFORM_ADMIN),
    )
}
SEGMENTS = st.sampled_from(
    [
        *(
            "open",
            "admin",
            "api",
            "x",
            "",
            ".",
            "..",
            "...",
            "%2e",
            "%2e%2e",
            "%2E.",
            "%252e%252e",
            "a.b",
            ".hidden",
            "b.",
        ),
        *(
            "%61dmin",
            "adm%69n",
            "%41dmin",
            "ADMIN",
            "Admin",
            "admin%20",
            "%20admin",
            "admin;a=b",
            ";admin",
            "admin%3Ba",
        ),
        *(
            "open%2fadmin",
            "open%2Fadmin",
            "..%2fadmin",
            "..%5cadmin",
            "x%5Cy",
            "x\\y",
            "%00",
            "admin%00",
            "%0a",
            "%0D%0A",
        ),
        *("%C0%AE%C0%AE", "%c0%af", "%E0%80%AF", "%F8%80%80%80%AF", "%C3%A9", "%c3%a9", "%FF", "%ED%A0%80", "%u002e"),
        *(
            "%",
            "%2",
            "%zz",
            "%25",
            "%2525",
            "%252f",
            "a+b",
            "a%2Bb",
            "~x",
            "%7Ex",
            "*",
            "a,b",
            "a:b",
            "@",
            "a'b",
            "(x)",
        ),
        *("%EF%BC%8F", "%E2%80%AE", "%E2%80%A8", "%C2%85", "%C2%A0", "%E3%80%80", "admin?", "?admin", "a%3Fb", "a%23b"),
    ]
)
WILD = st.text(alphabet="/.%25aefdmin2C;\\~?&=", min_size=1, max_size=12)
PATHS = st.builds(
    lambda lead, parts, tail: lead + "/".join(parts) + tail,
    st.sampled_from(["/", "//", "/api/", "/api//", "/api/../", "/open/", "/./", "/%2e/", "/API/"]),
    st.lists(SEGMENTS | WILD, min_size=1, max_size=4),
    st.sampled_from(["", "", "", "/", "/.", "/..", "?", "?x=/admin", "%2f", ";x", "."]),
)


def readings(target: str) -> set[str]:
    """How routers of different tempers might read a target."""
    path = target.partition("?")[0]
    found = {path}
    for _ in range(3):
        for one in tuple(found):
            decoded = unquote(one)
            found |= {decoded, posixpath.normpath(one), posixpath.normpath(decoded), one.rstrip("/"), one.rstrip(".")}
            found |= {one.replace("//", "/"), one.replace("\\", "/"), one.partition(";")[0], one.strip(), one.lower()}
            found |= {one.partition("\x00")[0]}
    return found


def is_admins(path: str) -> bool:
    parts = path.strip("/").split("/")
    return parts[0] == "admin" or (parts[0] == "open" and len(parts) > 1 and parts[-1] == "admin")


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(paths=st.lists(PATHS, min_size=100, max_size=100))
async def test_policy_and_service_read_one_path(paths: list[str], pair: tuple[Gateway, Service]) -> None:
    """5,000 targets by somebody without a token: none that any router could take for an administrator's arrives."""
    gateway, service = pair
    service.seen.clear()
    sent = [path.encode("ascii", "ignore") for path in paths]
    data = b"".join(
        b"GET %b HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n" % path for path in sent if b" " not in path
    )
    raw = await gateway.raw(data + b"GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", wait_s=10)
    assert b"HTTP/1.1 500" not in raw
    assert raw.count(b"HTTP/1.1 200 OK") >= len(service.seen)
    asked = {path.decode().removeprefix("/api") for path in sent}
    for seen in service.seen:
        assert seen.target.rstrip("?") in {one.rstrip("?") for one in asked}  # byte for byte what was asked and decided
        if not any(character in seen.target for character in "AM"):  # paths are case-sensitive for every router of ours
            assert not any(is_admins(reading) for reading in readings(seen.target)), seen.target


@pytest.fixture
async def pair(service: Service, launch: Launch) -> tuple[Gateway, Service]:
    return await launch(TABLE, upstream_mailer=service.url), service


GOOD = [
    *(
        "/",
        "/emails",
        "/emails/1",
        "/a.b",
        "/.well-known/x",
        "/a-b_c~d",
        "/a+b",
        "/a:b@c",
        "/a,b",
        "/(a)",
        "/a'b",
        "/$",
        "/*",
    ),
    *("/caf%C3%A9", "/%F0%9F%92%8C", "/a%20b", "/a%22b", "/%5B1%5D", "/a%7Cb", "/a%3Fb", "/a%23b"),
]
BAD = [
    *(
        "",
        "x",
        "//",
        "/a//b",
        "/a/",
        "/.",
        "/..",
        "/a/.",
        "/a/..",
        "/a/../b",
        "/a/./b",
        "/a.",
        "/...",
        "/a;b",
        "/;",
        "/a\\b",
    ),
    *(
        "/%2e",
        "/%2E%2E",
        "/a%2fb",
        "/a%2Fb",
        "/a%5Cb",
        "/a%5cb",
        "/a%00",
        "/a%0A",
        "/a%0D",
        "/a%7F",
        "/a%25",
        "/a%2525",
    ),
    *("/a%3B", "/%61", "/%41", "/%7E", "/%2D", "/%2B", "/%40", "/caf%c3%a9", "/%C3", "/%FF", "/%C0%AF", "/%E0%80%AF"),
    *(
        "/%ED%A0%80",
        "/%F5%80%80%80",
        "/%",
        "/%2",
        "/%zz",
        "/%u0041",
        "/a b",
        "/a<b",
        '/a"b',
        "/[1]",
        "/a|b",
        "/a^b",
        "/`",
    ),
    *(
        "/%C2%85",
        "/%E2%80%A8",
        "/%E2%80%AE",
        "/%20a",
        "/a%20",
        "/%20",
        "/a%C2%A0",
        "/caf\xe9",
        "/a\x00",
        "/a\n",
        "/a\x7f",
    ),
]


@pytest.mark.parametrize("path", GOOD)
def test_canonical(path: str) -> None:
    check_target(path.encode(), b"a=1&b=%2F..%2f")


@pytest.mark.parametrize("path", BAD)
def test_not_canonical(path: str) -> None:
    with pytest.raises(Malformed):
        check_target(path.encode("latin-1"), b"")


def test_queries_and_lengths() -> None:
    for query in (b"a=b c", b"a=\x00", b"a=\xc3\xa9", b"a=\r\n", b"a#b", b"\x7f"):
        with pytest.raises(Malformed):
            check_target(b"/a", query)
    check_target(b"/" + b"a" * 4000, b"b" * 4000)
    for path, query in ((b"/" + b"a" * 8192, b""), (b"/a", b"b" * 8192)):
        with pytest.raises(UriTooLong):
            check_target(path, query)


def test_fixed_beats_variable_and_backs_out_of_dead_ends() -> None:
    matcher: Matcher[str] = Matcher()
    for template in ("/a/{x}", "/a/b", "/a/b/c", "/{y}/b/d", "/{y}"):
        matcher.add("GET", template, template)
    for path, template in (
        ("/a/b", "/a/b"),
        ("/a/z", "/a/{x}"),
        ("/a/b/c", "/a/b/c"),
        ("/a/b/d", "/{y}/b/d"),
        ("/q", "/{y}"),
        ("/api/a/b", "/a/b"),
        ("/api", "/{y}"),
    ):
        found = matcher.find(path.encode())
        assert found is not None
        assert found[1]["GET"] == template
    assert matcher.find(b"/a/b/e") is None
    assert matcher.find(b"/") is None
    with pytest.raises(ValueError, match="twice"):
        matcher.add("GET", "/a/{other}", "again")
    for template in ("a", "/a//b", "/api/a", "/a/"):
        with pytest.raises(ValueError):
            matcher.add("GET", template, "x")


def test_memory_of_paths_is_bounded() -> None:
    matcher: Matcher[str] = Matcher()
    matcher.add("GET", "/a/{x}", "x")
    for number in range(20_000):
        assert matcher.find(b"/a/%d" % number) is not None
    assert len(matcher.remembered) <= 4096
