"""Sixty addresses that are one mailbox, or are refused."""

from email.headerregistry import Address as StandardAddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import Invalid
from mailer.domain.addresses import Address, parse_recipient

TAKEN = {
    "ana@example.com": Address("ana@example.com"),
    " ana@example.com ": Address("ana@example.com"),
    "Ana@Example.COM": Address("Ana@example.com"),
    "ana+tag@example.com": Address("ana+tag@example.com"),
    "a.b-c_d@sub.example.co": Address("a.b-c_d@sub.example.co"),
    "o'brien@example.com": Address("o'brien@example.com"),
    "!#$%&'*+-/=?^_`{|}~@example.com": Address("!#$%&'*+-/=?^_`{|}~@example.com"),
    "Ana <ana@example.com>": Address("ana@example.com", "Ana"),
    "Ana Maria  <ana@example.com>": Address("ana@example.com", "Ana Maria"),
    '"Silva, Ana" <ana@example.com>': Address("ana@example.com", "Silva, Ana"),
    '"Ana \\"A\\" Silva" <ana@example.com>': Address("ana@example.com", 'Ana "A" Silva'),
    "<ana@example.com>": Address("ana@example.com"),
    "João <joao@example.com>": Address("joao@example.com", "João"),
    "ana@bücher.example": Address("ana@xn--bcher-kva.example"),
    "ana@exámple.com": Address("ana@xn--exmple-qta.com"),
    "ana@例え.テスト": Address("ana@xn--r8jz45g.xn--zckzah"),
    "joão@example.com": Address("joão@example.com"),
    "dev@mail.test": Address("dev@mail.test"),
    "a@b.co": Address("a@b.co"),
    "x" * 64 + "@example.com": Address("x" * 64 + "@example.com"),
}
REFUSED = [
    "",
    " ",
    "ana",
    "@example.com",
    "ana@",
    "ana@@example.com",
    "a@b,c@d",
    "a@b.co, c@d.co",
    "a@b.co; c@d.co",
    "a@b.co c@d.co",
    "Team: a@b.co, c@d.co;",
    "undisclosed-recipients:;",
    "<@relay.test:ana@example.com>",
    "@relay.test:ana@example.com",
    "ana%evil.test@example.com@relay.test",
    '"ana maria"@example.com',
    '"a@b"@example.com',
    '"ana"@example.com',
    "ana(comment)@example.com",
    "ana@[127.0.0.1]",
    "ana@[IPv6:::1]",
    "ana@127.0.0.1",
    "dev@localhost",
    "dev@mail.localhost",
    "ana@example",
    "ana@-example.com",
    "ana@example-.com",
    "ana@exa_mple.com",
    "ana@example..com",
    ".ana@example.com",
    "ana.@example.com",
    "a..b@example.com",
    "ana@example.com.",
    "ana@.example.com",
    "a na@example.com",
    "ana@exam ple.com",
    "ana\r\nBcc: x@y.test@example.com",
    "ana@example.com\r\nBcc: x@y.test",
    "ana@example.com\n",
    "ana@example.com\x00",
    "ana\v@example.com",
    "ana\t@example.com",
    "ana@example.com\u2028",
    "Ana\r\nBcc: x@y.test <ana@example.com>",
    "A\x00na <ana@example.com>",
    "Ana <a@b.co> <c@d.co>",
    "Ana <a@b.co>, c@d.co",
    "<a@b.co>c@d.co",
    "Ana <>",
    "Ana <ana@example.com",
    "ana@example.com>",
    "<<ana@example.com>>",
    "x" * 65 + "@example.com",
    "ana@" + "x" * 64 + ".com",
    "a@" + ".".join(["x" * 60] * 5) + ".com",
    "ana@example.com" + " " * 2000,
    "\ud800@example.com",
    "ana@exam\ud800ple.com",
    "a\u202eb <\u202e@example.com>",
    "ana@exa\u200bmple.com",
    "ana＠example.com",
    "ana@example。com,b@c.co",
    "mailto:ana@example.com?bcc=x",
    "N" * 201 + " <ana@example.com>",
]


@pytest.mark.parametrize("email", TAKEN, ids=ascii)
def test_one_mailbox_is_taken(email: str) -> None:
    address = parse_recipient(email)
    assert address == TAKEN[email]
    assert address.domain.isascii()
    assert address.needs_smtputf8 is (not address.email.isascii())


@pytest.mark.parametrize("email", REFUSED, ids=lambda email: ascii(email)[:40])
def test_anything_else_is_refused_and_not_repeated(email: str) -> None:
    with pytest.raises(Invalid) as refusal:
        parse_recipient(email, field="to[0]")
    assert [error.field for error in refusal.value.errors] == ["to[0]"]
    assert len(email) < 3 or email not in refusal.value.detail


def test_a_name_beside_the_address_wins_and_is_cleaned() -> None:
    assert parse_recipient("a@b.co", "  Ana \u00a0 Maria ") == Address("a@b.co", "Ana Maria")
    assert parse_recipient("X <a@b.co>", "Ana") == Address("a@b.co", "Ana")
    assert parse_recipient("a@b.co", "  ") == Address("a@b.co")
    for name in ("a\nb", "a\rb", "a\x00b", "a\x85b", "a\u2029b", "\udfff", "x" * 201):
        with pytest.raises(Invalid):
            parse_recipient("a@b.co", name)


@given(st.text(max_size=60) | st.from_regex(r"[a-z.\"<>@, ;:()\\]{1,30}@[a-z.\[\]:-]{1,20}", fullmatch=True))
def test_whatever_is_taken_is_one_mailbox_of_the_standard_library_too(email: str) -> None:
    try:
        address = parse_recipient(email)
    except Invalid:
        return
    standard = StandardAddress(addr_spec=address.email)
    assert standard.username + "@" + standard.domain == address.email
    assert parse_recipient(address.email).email == address.email
