"""Translated templates print what the real Handlebars printed; what has no translation is refused where it stands."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from contracts.errors import Invalid
from mailer.domain.handlebars import to_jinja, translate
from mailer.domain.handlebars_runtime import js_string, root_frame
from mailer.domain.sandbox import PlainDataEnvironment, parse, problems_of

FIXTURE = json.loads((Path(__file__).parent / "fixtures/handlebars/cases.json").read_text())
DATA = FIXTURE["data"]


def printed(source: str, data: dict[str, Any], *, escape_html: bool = True) -> tuple[str, list[str]]:
    """What the translation prints, and the paths it missed."""
    missing: list[str] = []
    environment = PlainDataEnvironment(autoescape=False, missing=missing, handlebars=True)
    jinja = to_jinja(source, escape_html=escape_html)
    assert problems_of(parse(jinja), handlebars=True) == []
    return environment.from_string(jinja).render(f0=root_frame(data, missing)), missing


def test_there_are_hundreds_of_cases_of_handlebars_4() -> None:
    assert FIXTURE["handlebars"].startswith("4.")
    assert len(FIXTURE["cases"]) > 400


@pytest.mark.parametrize("case", FIXTURE["cases"], ids=lambda case: repr(case["template"])[:60])
def test_the_translation_prints_what_handlebars_printed(case: dict[str, str]) -> None:
    assert printed(case["template"], DATA)[0] == case["output"]


REFUSED = {
    "{{> header}}": (1, 1, "partials"),
    "a\n {{#> layout}}x{{/layout}}": (2, 2, "partials"),
    "{{* decorator}}": (1, 1, "decorators"),
    "{{#* inline 'x'}}{{/inline}}": (1, 1, "decorators"),
    "\n\n  {{{{raw}}}}{{{{/raw}}}}": (3, 3, "raw blocks"),
    "{{#each items as |item|}}{{/each}}": (1, 15, "block parameters"),
    "{{#if (eq a b)}}{{/if}}": (1, 7, "subexpressions"),
    "é{{upper name}}": (1, 2, "helpers"),
    "{{lookup list 0}}": (1, 1, "helpers"),
    "{{log}}": (1, 1, "helpers"),
    "{{if}}": (1, 1, "helpers"),
    "{{link href=url}}": (1, 8, "named arguments"),
    "{{#if n includeZero=true}}{{/if}}": (1, 9, "named arguments"),
    "{{#section}}x{{/section}}": (1, 1, "block helper"),
    "{{^section}}x{{/section}}": (1, 1, "inverse sections"),
    "{{#list people}}x{{/list}}": (1, 1, "block helper"),
    "{{#if}}x{{/if}}": (1, 1, "one argument"),
    "{{#if a b}}x{{/if}}": (1, 1, "one argument"),
    "{{#if a}}x": (1, 1, "not closed"),
    "a\r\n{{#if a}}x{{/each}}": (2, 11, "closed by another"),
    "x{{/if}}": (1, 2, "without its block"),
    "{{else}}": (1, 1, "without its block"),
    "{{#if a}}{{else}}{{else}}{{/if}}": (1, 18, "closed by another"),
    "{{}}": (1, 1, "empty"),
    "{{name": (1, 7, "does not end"),
    "{{! name": (1, 1, "does not end"),
    "{{!-- name }}": (1, 1, "does not end"),
    '{{"literal"}}': (1, 1, "literal"),
    "{{12}}": (1, 1, "literal"),
    "{{a.this}}": (1, 3, "invalid path"),
    "{{a/../b}}": (1, 3, "invalid path"),
    "{{@../index}}": (1, 3, "outer blocks"),
    "{{@level}}": (1, 1, "@level"),
    "{{a;b}}": (1, 3, "unexpected"),
    "{{one}}}": (1, 6, "unexpected"),
    "{{{one}}": (1, 7, "unexpected"),
    "{{'open}}": (1, 3, "string"),
    "\x00": (1, 1, "NUL"),
    "{{#if a}}" * 17 + "{{/if}}" * 17: (1, 145, "deeper"),
}


@pytest.mark.parametrize("source", REFUSED)
def test_what_has_no_translation_is_refused_with_line_and_column(source: str) -> None:
    line, column, words = REFUSED[source]
    with pytest.raises(Invalid) as refusal:
        to_jinja(source, escape_html=True, field="subject")
    (error,) = refusal.value.errors
    assert error.field == "subject"
    assert error.message.startswith(f"line {line}, column {column}: ")
    assert words in error.message


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ("{{a}} {{b.c}} {{a}}", ["a", "b.c"]),
        ("{{#if a}}x{{/if}}{{#unless b}}y{{/unless}}{{#each c}}{{/each}}{{#with d}}{{/with}}", []),
        ("{{#each list}}{{x}}{{../y}}{{@root.z}}{{/each}}", ["list[].x", "y", "z"]),
        ("{{#with user}}{{x}}{{#with deeper}}{{no}}{{/with}}{{/with}}", ["user.x"]),
        ("{{user.nothing}}{{nothing}}{{#if no}}{{x}}{{/if}}", []),
        ("{{nothing.x}}{{user.name.first}}", ["nothing.x", "user.name.first"]),
    ],
)
def test_a_printed_path_that_the_data_lacks_is_named(source: str, missing: list[str]) -> None:
    data: dict[str, Any] = {"list": [{}, {}], "user": {"name": "n", "nothing": None}, "nothing": None, "no": False}
    assert printed(source, data)[1] == missing


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("{{a}}{{b.c}}{{{d}}}", "a b d"),
        ("{{#each items}}{{x}}{{../y}}{{@index}}{{@root.z.q}}{{/each}}", "items y z"),
        (
            "{{#if a}}{{b}}{{else if c}}{{d}}{{/if}}{{#with e.f}}{{g}}{{#each h}}{{../../i}}{{/each}}{{/with}}",
            "a b c d e i",
        ),
        ("{{#if true}}{{this}}{{/if}}{{! no }}\\{{no}}", ""),
    ],
)
def test_the_names_a_template_uses_are_those_at_its_top(source: str, names: str) -> None:
    assert translate(source, escape_html=True).names == tuple(names.split())


def test_text_is_not_escaped_when_asked() -> None:
    assert printed("{{name}} {{{name}}}", {"name": "<&>"}, escape_html=False)[0] == "<&> <&>"
    assert printed("{{name}} {{{name}}}", {"name": "<&>"})[0] == "&lt;&amp;&gt; <&>"


def test_integers_print_exactly_beyond_what_javascript_can() -> None:
    assert js_string(2**53 + 1) == "9007199254740993"


def test_a_long_chain_of_else_if_compiles() -> None:
    chain = "{{#if x}}" + "".join(f"{{{{else if c{i}}}}}{i}" for i in range(60)) + "{{/if}}"
    assert printed(chain, {"c59": True})[0] == "59"


PIECES = st.sampled_from(
    ["{{", "}}", "{{{", "}}}", "{{#if a}}", "{{/if}}", "{{else}}", "{{~", "~}}", "a", ".", "/", "..", " ", "\n",
     "{%", "%}", "{#", "#}", "\\", "'", '"', "[", "]", "#each b", "{{/each}}", "&", "^", "!", "--", "(", ")", "|", "=",
     "@", "this", "{{ x }}", "é", "\r", "{{'", "'}}", "{{ '__class__' }}", "raw", "endraw", "-"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=24).map("".join))
def test_any_text_is_translated_or_refused_and_what_is_translated_renders(source: str) -> None:
    try:
        to_jinja(source, escape_html=True)
    except Invalid as refusal:
        where = [error.message.partition(":")[0] for error in refusal.errors]
        event(str(len(where)))
        return
    printed(source, {"a": {"b": 1}, "b": [1, "x"], "this": "<"})


@given(st.text(max_size=60).filter(lambda text: "{{" not in text and "\x00" not in text and text.isprintable()))
def test_text_without_tags_prints_itself(text: str) -> None:
    assert printed(text, {})[0] == text
