"""What a stored template may be: its syntax, its declared variables, and the Jinja that the sandbox will run."""

import hashlib
import re
from collections.abc import Sequence
from typing import Literal

import msgspec
from jinja2 import TemplateSyntaxError, meta, nodes

from contracts.errors import FieldError, Invalid
from mailer.domain.handlebars import translate
from mailer.domain.sandbox import parse, problems_of

#: `jinja` is what new templates are written in; rows imported from GoHorse's database are `handlebars`.
Syntax = Literal["jinja", "handlebars"]
#: A template saved without a syntax is read as Handlebars when it uses what only Handlebars has, else as Jinja.
_HANDLEBARS_MARKS = re.compile(r"\{\{~?\s*(?:#|/|!|>|\^|&|else\s*[~}]|\{)|\{\{~?\s*(?:this\b|@|\.\.?/)")

MAX_SUBJECT_CHARS = 500
MAX_BODY_CHARS = 256 * 1024
_NAME = re.compile(r"[^\W\d]\w*(?:-\w+)*")
_SECRET = ":secret"  # noqa: S105  # a suffix, no secret


class Declared(msgspec.Struct, frozen=True):
    """A variable that a template says it takes; a secret one is stored sealed, masked in views, erased once sent."""

    name: str
    secret: bool = False


class PreparedTemplate(msgspec.Struct, frozen=True):
    """A template ready for the renderer. `version` changes with the source and with nothing else."""

    syntax: Syntax
    subject: str
    body: str
    version: str
    names: tuple[str, ...]
    declared: tuple[Declared, ...]
    warnings: tuple[str, ...]


def is_handlebars(source: str) -> bool:
    """Whether the source uses tags that only Handlebars has; `{{x}}` alone is the same in both."""
    return _HANDLEBARS_MARKS.search(source) is not None


def detect_syntax(subject: str, body_html: str) -> Syntax:
    """The syntax of a template that does not say it."""
    return "handlebars" if is_handlebars(subject) or is_handlebars(body_html) else "jinja"


def parse_declared(variables: Sequence[str]) -> tuple[Declared, ...]:
    """The column `variables`: `name`, or `reset_link:secret`.

    Raises Invalid for what is not a name, and for a name that comes twice.
    """
    declared: list[Declared] = []
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, entry in enumerate(variables):
        name = entry.removesuffix(_SECRET)
        if not _NAME.fullmatch(name) or len(name) > 100:
            errors.append(FieldError(f"variables[{index}]", "is not a name, or a name and ':secret'"))
        elif name in seen:
            errors.append(FieldError(f"variables[{index}]", f"{name} is declared twice"))
        seen.add(name)
        declared.append(Declared(name, entry.endswith(_SECRET)))
    if errors:
        raise _refused(errors)
    return tuple(declared)


def prepare(subject: str, body_html: str, variables: Sequence[str], syntax: Syntax | None = None) -> PreparedTemplate:
    """The template as the renderer takes it, translated when it is Handlebars; `syntax` None means detect.

    A variable that is declared and not used is a warning.

    Raises Invalid naming each wrong field: what the syntax does not allow with its line (and column), and every
    variable that is used and not declared.
    """
    errors = _sizes(subject, body_html)
    if errors:
        raise _refused(errors)
    declared = parse_declared(variables)
    syntax = syntax or detect_syntax(subject, body_html)
    sources: dict[str, str] = {}
    names: set[str] = set()
    used_in: dict[str, set[str]] = {}
    for field, source in (("subject", subject), ("body_html", body_html)):
        try:
            sources[field], used_in[field] = _compiled(source, syntax, field)
            names |= used_in[field]
        except Invalid as refusal:
            errors += refusal.errors
    known = {one.name for one in declared}
    errors += [
        FieldError(field, f"{name} is used and not declared in variables")
        for field, used in used_in.items()
        for name in sorted(used - known)
    ]
    if errors:
        raise _refused(errors)
    warnings = tuple(f"{name} is declared and not used" for name in sorted(known - names))
    version = hashlib.sha256(f"{syntax}\x00{subject}\x00{body_html}".encode()).hexdigest()
    return PreparedTemplate(
        syntax, sources["subject"], sources["body_html"], version, tuple(sorted(names)), declared, warnings
    )


def _compiled(source: str, syntax: Syntax, field: str) -> tuple[str, set[str]]:
    if syntax == "handlebars":
        translation = translate(source, escape_html=field == "body_html", field=field)
        return translation.jinja, set(translation.names)
    try:
        tree = parse(source)
    except TemplateSyntaxError as error:
        raise _refused([FieldError(field, f"line {error.lineno}: {error.message}")]) from error
    except RecursionError as error:
        raise _refused([FieldError(field, "is nested too deeply")]) from error
    problems = problems_of(tree)
    if problems:
        raise _refused([FieldError(field, f"line {line}: {problem}") for line, problem in problems])
    return source, _undeclared(tree)


def _undeclared(tree: nodes.Template) -> set[str]:
    return set(meta.find_undeclared_variables(tree))


def _sizes(subject: str, body_html: str) -> list[FieldError]:
    errors = []
    if not subject.strip():
        errors.append(FieldError("subject", "is empty"))
    if len(subject) > MAX_SUBJECT_CHARS:
        errors.append(FieldError("subject", f"is over {MAX_SUBJECT_CHARS} characters"))
    if any(char in subject for char in "\r\n\v\f\x00\x1c\x1d\x1e\x85\u2028\u2029"):
        errors.append(FieldError("subject", "holds a line break"))
    if len(body_html) > MAX_BODY_CHARS:
        errors.append(FieldError("body_html", f"is over {MAX_BODY_CHARS} characters"))
    errors += [
        FieldError(field, "holds a NUL or half of a surrogate pair")
        for field, source in (("subject", subject), ("body_html", body_html))
        if "\x00" in source or any("\ud800" <= char <= "\udfff" for char in source)
    ]
    return errors


def _refused(errors: Sequence[FieldError]) -> Invalid:
    first = errors[0]
    return Invalid(f"the template was refused: {first.field}: {first.message}", code="template_refused", errors=errors)
