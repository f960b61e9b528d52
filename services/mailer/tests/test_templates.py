"""A saved template is one that can be sent: its syntax is known, its variables are declared, its grammar is allowed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import Invalid
from mailer.domain.templates import (
    MAX_BODY_CHARS,
    Declared,
    Syntax,
    detect_syntax,
    is_handlebars,
    parse_declared,
    prepare,
)


def problems(subject: str, body: str, variables: list[str], syntax: Syntax | None = None) -> list[tuple[str, str]]:
    with pytest.raises(Invalid) as refusal:
        prepare(subject, body, variables, syntax)
    return [(error.field, error.message) for error in refusal.value.errors]


def test_names_are_collected_and_declared() -> None:
    body = "{% for i in items %}{{ i.x }}{{ user.y }}{% endfor %}"
    prepared = prepare("Hi {{ name }}", body, ["name", "items", "user"])
    assert prepared.syntax == "jinja"
    assert prepared.names == ("items", "name", "user")
    assert prepared.warnings == ()
    assert prepared.body == body


def test_what_is_used_and_not_declared_is_an_error_where_it_is_used() -> None:
    for syntax in ("jinja", "handlebars"):
        assert problems("{{ a }}", "{{ b }} {{ a }} {{ c }}", ["c"], syntax) == [
            ("subject", "a is used and not declared in variables"),
            ("body_html", "a is used and not declared in variables"),
            ("body_html", "b is used and not declared in variables"),
        ]


def test_what_is_declared_and_not_used_is_a_warning() -> None:
    assert prepare("s", "{{ a }}", ["a", "b:secret"]).warnings == ("b is declared and not used",)


def test_every_problem_is_named_with_its_line() -> None:
    found = problems("{{ x.y( }}", "a\n{{ x|safe }}\n{{ x.upper() }}{% include 'a' %}", ["x"])
    assert found[0][0] == "subject"
    assert found[0][1].startswith("line 1: ")
    assert sorted(found[1:]) == [
        ("body_html", "line 2: filter safe is not allowed"),
        ("body_html", "line 3: a call is not allowed"),
        ("body_html", "line 3: include is not allowed"),
    ]


def test_a_handlebars_problem_has_line_and_column() -> None:
    assert problems("s", "a\n  {{> header}}", []) == [("body_html", "line 2, column 3: partials are not supported")]


@pytest.mark.parametrize(
    ("source", "handlebars"),
    [
        ("{{#if x}}{{/if}}", True),
        ("{{{x}}}", True),
        ("{{&x}}", True),
        ("{{!-- c --}}", True),
        ("{{this.x}}", True),
        ("{{@index}}", True),
        ("{{../x}}", True),
        ("{{> p}}", True),
        ("{{~#each x}}", True),
        ("{{x}}", False),
        ("{{ x.y }}", False),
        ("{% if x %}{{ x|upper }}{% endif %}", False),
        ("{{ thisisit }} {# c #}", False),
        ("plain {", False),
    ],
)
def test_handlebars_is_recognised_by_what_only_it_has(source: str, handlebars: bool) -> None:
    assert is_handlebars(source) is handlebars
    assert detect_syntax("s", source) == ("handlebars" if handlebars else "jinja")


def test_the_syntax_that_is_given_wins() -> None:
    assert prepare("{{x}}", "{{x}}", ["x"], "handlebars").syntax == "handlebars"
    assert prepare("{{x}}", "{{x}}", ["x"], "jinja").syntax == "jinja"
    problems("s", "{{#if x}}{{/if}}", ["x"], "jinja")
    # `{% if %}` is text to Handlebars.
    assert prepare("s", "{% if x %}", [], "handlebars").body == '{{ "{% if x %}" }}'


def test_the_version_changes_with_syntax_subject_and_body_and_nothing_else() -> None:
    versions = {
        prepare("{{x}}", "b", ["x"], "jinja").version,
        prepare("{{x}}", "b", ["x"], "handlebars").version,
        prepare("{{x}} ", "b", ["x"], "jinja").version,
        prepare("{{x}}", "b ", ["x"], "jinja").version,
    }
    assert len(versions) == 4
    assert prepare("{{x}}", "b", ["x:secret", "y"], "jinja").version in versions


def test_declared_variables() -> None:
    assert parse_declared(["a", "reset_link:secret", "a-b", "ação"]) == (
        Declared("a"),
        Declared("reset_link", secret=True),
        Declared("a-b"),
        Declared("ação"),
    )
    for bad in ("", ":secret", "a b", "a.b", "1a", "a:hidden", "x" * 101, "a\n"):
        with pytest.raises(Invalid) as refusal:
            parse_declared(["fine", bad])
        assert refusal.value.errors[0].field == "variables[1]"
    with pytest.raises(Invalid):
        parse_declared(["a", "a:secret"])


@pytest.mark.parametrize("subject", ["", "  ", "a\nb", "a\rb", "a\u2028b", "a\x00", "x" * 501, "\ud800"])
def test_a_subject_is_one_line_of_text(subject: str) -> None:
    assert {field for field, _ in problems(subject, "b", [])} == {"subject"}


@pytest.mark.parametrize("body", ["x" * (MAX_BODY_CHARS + 1), "\x00", "\udfff"])
def test_a_body_is_bounded_text(body: str) -> None:
    assert {field for field, _ in problems("s", body, [])} == {"body_html"}


def test_deep_nesting_is_refused_not_fatal() -> None:
    assert problems("s", "{{ " + "(" * 50_000 + "1" + ")" * 50_000 + " }}", [])


PIECES = st.sampled_from(
    [
        "{{",
        "}}",
        "{%",
        "%}",
        "{#",
        "#}",
        " x ",
        "if",
        "for",
        " in ",
        "else",
        "end",
        "|",
        "'",
        "(",
        ".",
        "[",
        "#",
        "/",
        "=",
        "\n",
    ]
)


@given(st.lists(PIECES, max_size=20).map("".join), st.sampled_from(["jinja", "handlebars", None]))
def test_any_text_is_prepared_or_refused(source: str, syntax: Syntax | None) -> None:
    try:
        prepared = prepare("s", source, ["x"], syntax)
    except Invalid:
        return
    assert set(prepared.names) <= {"x"}
