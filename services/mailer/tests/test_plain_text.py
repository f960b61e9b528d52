"""The text alternative says what the HTML says."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.domain.plain_text import to_plain_text

CASES = [
    ("", ""),
    ("plain", "plain\n"),
    ("<p>One</p><p>Two</p>", "One\n\nTwo\n"),
    ("a<br>b<br/>c", "a\nb\nc\n"),
    ("<div>a</div><div>b</div>", "a\nb\n"),
    ("  lots \n of\t space  ", "lots of space\n"),
    ("&lt;b&gt; &amp; &eacute;&#39;&nbsp;x", "<b> & é'\xa0x\n"),
    ("<ul><li>one</li><li>two</li></ul>end", "- one\n- two\n\nend\n"),
    ('<a href="https://x.test/?a=1&amp;b=2">Open</a>', "Open (https://x.test/?a=1&b=2)\n"),
    ("<a href='https://x.test'>https://x.test</a>", "https://x.test\n"),
    ("<a href=https://x.test>Open <b>it</b></a> now", "Open it (https://x.test) now\n"),
    ('<a href="mailto:a@b.co">a@b.co</a>', "a@b.co\n"),
    ('<a href="#top">up</a><a name="x">y</a>', "upy\n"),
    ('<a href="https://x.test"><img src="b.png" alt="Buy &amp; go"></a>', "Buy & go (https://x.test)\n"),
    ('<a href="https://x.test"><img src="b.png"></a>', "https://x.test\n"),
    ("<style>p{color:red}</style><script>x()</script><title>t</title>a", "a\n"),
    ("<head><title>t</title></head><body>a</body>", "a\n"),
    ("<!-- hidden <p>no</p> -->a<!-- never ends", "a\n"),
    ("<!DOCTYPE html>a", "a\n"),
    ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc\n"),
    ("a<hr>b", "a\n\n---\n\nb\n"),
    ("1 < 2 and 3 > 2 <", "1 < 2 and 3 > 2 <\n"),
    ('<p title="a > b">x</p>', "x\n"),
    ("<style>never ends", "never ends\n"),
    ("<P>upper</P><BR>case", "upper\n\ncase\n"),
    ("a\x00b", "ab\n"),
]


@pytest.mark.parametrize(("html", "text"), CASES)
def test_html_becomes_text(html: str, text: str) -> None:
    assert to_plain_text(html) == text


@given(st.text(st.characters(codec="utf-8"), max_size=200) | st.text("<>/!-ap \"'=&;brli", max_size=80))
def test_any_text_becomes_something_without_trailing_blanks(html: str) -> None:
    text = to_plain_text(html)
    assert text == "" or text.endswith("\n")
    assert "\n\n\n" not in text


@pytest.mark.parametrize(
    "unit", ["<", "<!--", "<a ", "<a href='", '<a href="', "<p>", "<style>", "&", "<a href=x>", "</a", "<!"]
)
def test_it_takes_linear_time(unit: str) -> None:
    started = time.monotonic()
    to_plain_text(unit * (50_000 // len(unit)))
    assert time.monotonic() - started < 3
