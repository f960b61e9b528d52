"""Templates cannot escape, cannot exhaust, and cannot disturb each other."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import mailer.renderer
from contracts.errors import Invalid, ServiceError, Unavailable
from mailer.domain.templates import prepare
from mailer.renderer import Rendered, Renderer, RenderRequest, request_for

#: Half of what is allowed, since every bomb here takes all of it.
LIMIT_S = 1.0
#: And what a busy machine takes to notice and to start the next worker.
PROMPTLY_S = LIMIT_S + 5.0
SECRETS = (
    "root:",
    "<class",
    "<function",
    "<bound",
    "<module",
    "built-in",
    "SECRET",
    "environ",
    "PYTHON",
    "<mailer",
    "<jinja2",
)


@pytest.fixture(autouse=True)
def limit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert mailer.renderer.LIMIT_S == 2
    monkeypatch.setattr(mailer.renderer, "LIMIT_S", LIMIT_S)


@pytest.fixture
async def renderer() -> AsyncIterator[Renderer]:
    async with Renderer() as renderer:
        yield renderer


def unsaved(body: str, variables: dict[str, Any], *, subject: str = "s", syntax: str = "jinja") -> RenderRequest:
    """A template that never went through `prepare`, as if somebody had written it into the table."""
    return RenderRequest(f"{syntax}{subject}{body}", syntax, subject, body, variables)


def jinja(body: str, variables: dict[str, Any], *, subject: str = "s") -> RenderRequest:
    prepared = prepare(subject, body, [*variables, "x", "item", "missing", "user"][: len(variables)], "jinja")
    return request_for(prepared, variables)


INNOCENT = jinja("<p>{{ name }}</p>", {"name": "Ana"})

ESCAPES = [
    "{{ ''.__class__ }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__'] }}",
    "{{ x['__cl' ~ 'ass__'] }}",
    "{{ x|attr('__class__') }}",
    "{{ x|attr('up' ~ 'per') }}",
    "{{ [x]|map(attribute='__class__')|list }}",
    "{{ [x]|map('upper')|list }}",
    "{{ [x]|selectattr('__class__')|list }}",
    "{{ [x]|groupby('__class__') }}",
    "{{ [x]|sum(attribute='__class__') }}",
    "{{ [x]|join(attribute='__class__') }}",
    "{{ [x]|join(',', '__class__') }}",
    "{{ [x]|sort(attribute='__class__') }}",
    "{{ [x]|sort(false, false, '__class__') }}",
    "{{ [x]|unique(attribute='__class__')|list }}",
    "{{ [x]|min(attribute='__class__') }}",
    "{{ [x]|max(false, '__class__') }}",
    "{{ '{0.__class__}'.format(x) }}",
    "{{ '{0.__class__}'|format(x) }}",
    "{{ '%s'|format(x) }}",
    "{{ '{a.__class__}'.format_map({'a': x}) }}",
    "{{ ('{0.__class__}'|attr('format'))(x) }}",
    "{% set f = '{0.__class__}'.format %}{{ f(x) }}",
    "{{ [x]|map('format')|list }}",
    "{{ '%c' % 65 }}",
    "{{ '%s' % x }}",
    "{{ '%(a)s' % {'a': x} }}",
    "{{ lipsum() }}",
    "{{ lipsum.__globals__ }}",
    "{{ cycler('a').next() }}",
    "{{ joiner() }}",
    "{{ namespace(a=1) }}",
    "{{ range(3) }}",
    "{{ dict(a=1) }}",
    "{{ self }}",
    "{{ self.__init__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ caller() }}",
    "{{ varargs }}",
    "{{ config }}",
    "{{ request.application.__globals__ }}",
    "{{ url_for.__globals__ }}",
    "{{ get_flashed_messages() }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{% from 'os' import environ %}",
    "{% extends 'base' %}",
    "{% block b %}{% endblock %}",
    "{% macro m() %}{{ caller() }}{% endmacro %}{{ m.__globals__ }}",
    "{% call m() %}{% endcall %}",
    "{% autoescape false %}{{ x }}{% endautoescape %}",
    "{{ x|safe }}",
    "{{ x|xmlattr }}",
    "{{ {'a b': x}|xmlattr }}",
    "{% filter upper %}x{% endfilter %}",
    "{% set a %}{{ x }}{% endset %}{{ a }}",
    "{% with a=x %}{{ a.upper() }}{% endwith %}",
    "{{ x.upper() }}",
    "{{ x.encode().decode() }}",
    "{{ [].append(1) }}",
    "{{ {}.update({'a': 1}) }}",
    "{{ x|pprint }}",
    "{{ x|tojson }}",
    "{{ [1]|random }}",
    "{{ x|hb_html('a', 0, ('a',)) }}",
    "{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "{% for a in [1] %}{{ loop.__class__ }}{{ loop.cycle }}{{ loop._iterable }}{% endfor %}",
    "{{ x is filter('upper') }}",
    "{{ x is callable }}",
    "{% debug %}",
    "{% trans %}{{ x }}{% endtrans %}",
    "{% do x %}",
    "{{ ().__class__.__bases__ }}",
    "{{ x.mro }}",
    "{{ missing.__init__.__globals__ }}",
    "{{ x|default(missing.__class__, true) }}",
    "{{ 1.0.real.__class__ }}",
    "{{ true.__class__ }}",
    "{{ none.__class__ }}",
    "{{ loop }}",
    "{{ x|batch(1, fill_with=self) }}",
    "{{ x|upper(**{}) }}",
    "{{ x|replace(*['a']) }}",
    "{{ 2 ** 10 }}",
    "{{ __builtins__ }}",
    "{{ f0 }}",
]


#: Taken at save, because what they do is only seen with data: a key that no data has, and text where numbers belong.
INERT = {"{{ x['__cl' ~ 'ass__'] }}", "{{ '%c' % 65 }}", "{{ '%s' % x }}", "{{ '%(a)s' % {'a': x} }}", "{{ x.mro }}"}


def is_refused_at_save(escape: str) -> bool:
    try:
        prepare("s", escape, ["x"], "jinja")
    except Invalid as refusal:
        return bool(refusal.errors)
    return False


def test_escapes_are_refused_at_save() -> None:
    assert len(ESCAPES) > 80
    assert {escape for escape in ESCAPES if not is_refused_at_save(escape)} == INERT


async def test_an_escape_that_was_stored_all_the_same_is_inert(renderer: Renderer) -> None:
    for syntax in ("jinja", "handlebars"):
        outcomes = await renderer.render_many([unsaved(escape, {"x": "<value>"}, syntax=syntax) for escape in ESCAPES])
        for escape, outcome in zip(ESCAPES, outcomes, strict=True):
            shown = outcome.html if isinstance(outcome, Rendered) else outcome.detail
            assert not any(secret in shown for secret in SECRETS), (escape, shown)
            assert "<value>" not in shown, (escape, shown)


HUGE = list(range(3000))
BOMBS: list[tuple[str, dict[str, Any]]] = [
    ("{{ 'a' * 1000000000 }}", {}),
    ("{{ x * 1000000000 }}", {"x": "a"}),
    ("{{ [0] * 1000000000 }}", {}),
    ("{{ '%100000000d'|format(1) }}", {}),
    ("{{ '%1000000000d' % 1 }}", {}),
    ("{{ 'a'|center(1000000000) }}", {}),
    ("{{ 'a'.ljust(1000000000) }}", {}),
    ("{{ 10 ** 10000000 }}", {}),
    ("{{ range(1000000000)|list }}", {}),
    ("{% for a in range(3000) %}{% for b in range(3000) %}{% endfor %}{% endfor %}", {}),
    ("{% for a in x %}{% for b in x %}{% for c in x %}{% endfor %}{% endfor %}{% endfor %}", {"x": HUGE}),
    ("{% for a in x %}{% for b in x %}{% for c in x %}{{ a }}{% endfor %}{% endfor %}{% endfor %}", {"x": HUGE}),
    ("{% for a in x %}{% if x|sort|reverse|list|sort == x|sort %}{% endif %}{% endfor %}" * 9, {"x": HUGE}),
    ("{% set s = 'aaaaaaaa' %}" + "{% set s = s ~ s ~ s ~ s %}" * 15 + "{{ s|length }}", {}),
    ("{% set s = ['a', 'a'] %}" + "{% set s = [s|join, s|join, s|join] %}" * 20 + "{{ s|length }}", {}),
    ("{{ 'a'|replace('a', 'b' * 100000000) }}", {}),
    ("{{ x|replace('', x)|replace('', x)|replace('', x)|length }}", {"x": "a" * 2000}),
    ("{{ 'a\n'|indent(1000000000) }}", {}),
    ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", {}),
    ("{% if 1 %}" * 2000 + "{% endif %}" * 2000, {}),
    ("{{ x|wordwrap(1)|wordwrap(1)|wordwrap(1)|length }}{{ x|batch(100000000, 'a')|list|length }}", {"x": "a " * 9000}),
    ("{% for a in x %}{{ x|join }}{% endfor %}", {"x": HUGE}),
    ("{% for a in x %}{% for b in x %}{{ 9.9|round(b) }}{{ x|sum }}{% endfor %}{% endfor %}", {"x": HUGE}),
    ("{{ 1|round(-100000000) }}{{ 9|round(100000000) }}", {}),
]


@pytest.mark.parametrize("bomb", BOMBS, ids=lambda bomb: repr(bomb[0])[:50])
async def test_a_bomb_ends_in_time_and_disturbs_nobody(bomb: tuple[str, dict[str, Any]], renderer: Renderer) -> None:
    await renderer.render(INNOCENT)
    body, variables = bomb
    started = time.monotonic()
    outcomes = await renderer.render_many([INNOCENT, INNOCENT, unsaved(body, variables), INNOCENT, INNOCENT])
    assert time.monotonic() - started < PROMPTLY_S
    blown = outcomes.pop(2)
    assert all(isinstance(outcome, Rendered) and outcome.html == "<p>Ana</p>" for outcome in outcomes)
    assert isinstance(blown, Invalid) or (isinstance(blown, Rendered) and len(blown.html) < 2 * 1024 * 1024)


async def test_a_handlebars_bomb_ends_too(renderer: Renderer) -> None:
    prepared = prepare(
        "s", "{{#each x}}{{#each ../x}}{{#each ../../x}}{{this}}{{/each}}{{/each}}{{/each}}", ["x"], None
    )
    assert prepared.syntax == "handlebars"
    started = time.monotonic()
    with pytest.raises(Invalid):
        await renderer.render(request_for(prepared, {"x": [[] for _ in HUGE]}))
    assert time.monotonic() - started < PROMPTLY_S


async def test_the_reason_is_said_and_others_go_on_meanwhile(
    renderer: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailer.renderer, "LIMIT_S", 2 * LIMIT_S)
    await renderer.render_many([INNOCENT] * 100)
    spinning = asyncio.ensure_future(renderer.render(unsaved(BOMBS[10][0], BOMBS[10][1])))
    await asyncio.sleep(0.1)
    for _ in range(10):
        assert (await renderer.render(INNOCENT)).html == "<p>Ana</p>"
    assert not spinning.done()
    with pytest.raises(Invalid, match="template rendering took over 2 s or 256 MB"):
        await spinning


async def test_memory_is_bounded_and_the_reason_is_said(renderer: Renderer) -> None:
    body = "{% set s = 'aaaaaaaa' %}" + "{% set s = s ~ s ~ s ~ s %}" * 15 + "{{ s|length }}"
    with pytest.raises(Invalid, match="template rendering took over 2 s or 256 MB"):
        await renderer.render(unsaved(body, {}))


def kill_workers(renderer: Renderer) -> None:
    for pid in workers_of(renderer):
        with contextlib.suppress(ProcessLookupError):  # gone already, and not yet noticed
            os.kill(pid, signal.SIGKILL)


def workers_of(renderer: Renderer) -> list[int]:
    lanes = renderer._lanes
    return [lane._process.pid for lane in lanes if lane._process is not None and lane._process.returncode is None]


async def test_a_worker_that_dies_is_replaced_and_no_mail_is_lost(renderer: Renderer) -> None:
    await renderer.render(INNOCENT)
    for _ in range(3):
        rendering = asyncio.ensure_future(renderer.render_many([INNOCENT] * 500))
        await asyncio.sleep(0.01)
        kill_workers(renderer)
        outcomes = await rendering
        assert all(isinstance(outcome, Rendered) for outcome in outcomes)
    kill_workers(renderer)
    await asyncio.sleep(0.05)
    assert (await renderer.render(INNOCENT)).html == "<p>Ana</p>"


async def test_a_worker_starts_with_the_first_mail_ends_when_idle_and_carries_nothing_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SECRETS_KEY", "SECRET")
    async with Renderer(idle_s=0.2) as renderer:
        assert workers_of(renderer) == []
        await renderer.render(INNOCENT)
        (pid,) = workers_of(renderer)
        proc = Path(f"/proc/{pid}")
        assert b"SECRET" not in proc.joinpath("environ").read_bytes()
        assert "uvloop" not in proc.joinpath("maps").read_text()
        await asyncio.sleep(0.6)
        assert workers_of(renderer) == []
        await renderer.render(INNOCENT)
        (pid,) = workers_of(renderer)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(Unavailable):
        await renderer.render(INNOCENT)


async def test_stopping_waits_for_a_worker_that_is_being_killed() -> None:
    async with Renderer(workers=1) as renderer:
        await renderer.render(INNOCENT)
        (pid,) = workers_of(renderer)
        with pytest.raises(Invalid):
            await renderer.render(unsaved(BOMBS[10][0], BOMBS[10][1]))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


MISSING = [
    ("{{ a }} {{ b }} {{ a }}", {}, ["a", "b"]),
    ("{{ user.name }} {{ user.address.city }}", {"user": {"name": "n"}}, ["user.address.city"]),
    ("{{ user.name }} {{ user['mail'] }}", {"user": {}}, ["user.name", "user.mail"]),
    ("{% for item in items %}{{ item.title }}{% endfor %}", {"items": [{}]}, ["item.title"]),
    ("{% if a %}x{% endif %}{% for b in c %}{% endfor %}", {}, ["a", "c"]),
    ("{% if a is defined %}{{ a }}{% endif %}{{ b|default('x') }}{{ c.d|default('y') }}", {"c": {}}, []),
    ("{{ a|upper }}{{ b + 1 }}{{ c ~ 'x' }}{{ e == 1 }}{{ d|round }}", {}, ["a", "b", "c", "d", "e"]),
    ("{{ d|float + e }}", {}, ["d"]),
    ("{{ -d }}", {}, ["d"]),
    ("{% if d < 3 %}{% endif %}", {}, ["d"]),
    ("{{ d|abs }}", {}, ["d"]),
    ("{{ none_given }}", {"none_given": None}, []),
    ("{{ user.items }} {{ user.keys }}", {"user": {"items": 3}}, ["user.keys"]),
]


@pytest.mark.parametrize(("body", "variables", "missing"), MISSING)
async def test_all_missing_variables_are_named(
    body: str, variables: dict[str, Any], missing: list[str], renderer: Renderer
) -> None:
    (outcome,) = await renderer.render_many([unsaved(body, variables)])
    if not missing:
        assert isinstance(outcome, Rendered)
        return
    assert isinstance(outcome, Invalid)
    assert sorted(error.field for error in outcome.errors) == sorted(f"variables.{name}" for name in missing)
    assert all(name in outcome.detail for name in missing)


async def test_subject_and_body_name_their_missing_variables_together(renderer: Renderer) -> None:
    with pytest.raises(Invalid, match="missing variables: a, b"):
        await renderer.render(unsaved("{{ b }}", {}, subject="{{ a }}"))


async def test_html_is_escaped_and_a_subject_is_not(renderer: Renderer) -> None:
    rendered = await renderer.render(jinja("<p>{{ x }}</p>", {"x": "<b>&'\""}, subject="Olá {{ x }}"))
    assert rendered == Rendered("Olá <b>&'\"", "<p>&lt;b&gt;&amp;&#39;&#34;</p>", "<b>&'\"\n")


CODE_LINKS = [
    "javascript:alert(1)",
    " JaVaScRiPt:x",
    "java\tscript:x",
    "vbscript:x",
    "data:text/html,x",
    "\x01javascript:x",
]


@pytest.mark.parametrize("quote", ['"', "'"])
async def test_a_link_that_runs_code_is_disarmed(quote: str, renderer: Renderer) -> None:
    body = f"<a href={quote}{{{{ x }}}}{quote}>k</a>"
    raw = prepare("s", body.replace("{{ x }}", "{{{x}}}"), ["x"], "handlebars")
    for address in CODE_LINKS:
        assert (await renderer.render(jinja(body, {"x": address}))).html == '<a href="#">k</a>'
        assert (await renderer.render(request_for(raw, {"x": address}))).html == '<a href="#">k</a>'
    for disguised in ("java&#115;cript:x", "&#x6a;avascript&colon;x", "java&Tab;script:x"):
        assert (await renderer.render(request_for(raw, {"x": disguised}))).html == '<a href="#">k</a>'


async def test_an_honest_link_stays(renderer: Renderer) -> None:
    for address in ("https://x.test/?a=1", "mailto:a@b.test", "tel:+55", "/path", "#top", "cid:logo"):
        assert f'"{address}"' in (await renderer.render(jinja('<a href="{{ x }}">k</a>', {"x": address}))).html


@pytest.mark.parametrize(
    "bad", [{"x": object()}, {"x": 2**70}, {"x": {1, 2}.__iter__()}, {"x": "a" * (9 * 1024 * 1024)}]
)
async def test_only_plain_data_of_a_bounded_size_is_taken(bad: dict[str, Any], renderer: Renderer) -> None:
    with pytest.raises(Invalid):
        await renderer.render(unsaved("{{ x }}", bad))
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(ServiceError):
        await renderer.render(unsaved("{{ x }}", {"x": nested}))
    assert (await renderer.render(INNOCENT)).html == "<p>Ana</p>"


async def test_an_error_of_the_template_quotes_no_variable(renderer: Renderer) -> None:
    with pytest.raises(Invalid) as failure:
        await renderer.render(unsaved("{{ x|int + [1] }}", {"x": "SECRET"}))
    assert "SECRET" not in failure.value.detail


@pytest.mark.parametrize("body", ["{{ x|items }}", "{{ x|batch(2) }}", "{% for a in x %}{{ loop }}{% endfor %}"])
async def test_what_is_no_plain_data_is_not_printed(body: str, renderer: Renderer) -> None:
    """Its text is the address of an object in our memory, and nothing that a reader should get by mail."""
    with pytest.raises(Invalid, match="the template fails with this data: SecurityError"):
        await renderer.render(jinja(body, {"x": {"a": 1}}))


async def test_output_is_bounded(renderer: Renderer) -> None:
    with pytest.raises(Invalid, match="prints over 2097152 characters"):
        await renderer.render(unsaved("{% for a in x %}{{ a }}{% endfor %}", {"x": ["a" * 1024 * 1024] * 3}))


async def test_a_cancelled_caller_harms_nobody(renderer: Renderer) -> None:
    waiting = [asyncio.ensure_future(renderer.render(INNOCENT)) for _ in range(50)]
    for one in waiting[::2]:
        one.cancel()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(outcome, Rendered) for outcome in outcomes[1::2])
