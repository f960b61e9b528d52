"""The child process that renders: started as `python -m mailer.render_worker`, bounded in memory and processor time.

Frames on stdin and stdout: 4 octets of length, then msgpack. It says hello once it is ready, then answers each batch
with one frame per item, in order, as soon as the item is done, so that the parent knows which one is running.
"""

import gc
import os
import resource
import sys
from collections import OrderedDict
from typing import Any, BinaryIO

import msgspec
from jinja2 import Template, TemplateError

from mailer.domain.handlebars_runtime import root_frame
from mailer.domain.links import disarm
from mailer.domain.plain_text import to_plain_text
from mailer.domain.sandbox import PlainDataEnvironment, chains_of, parse, problems_of

MEMORY_BYTES = 256 * 1024 * 1024
OUTPUT_CHARS = 2 * 1024 * 1024
#: A second brake behind the parent's wall clock of 2 s, for when the parent itself is stuck or gone.
PROCESSOR_S = 3
_KEPT_TEMPLATES = 256


class Source(msgspec.Struct, array_like=True):
    """One template version, as prepared when it was saved."""

    syntax: str
    subject: str
    body: str


class Item(msgspec.Struct, array_like=True):
    """One mail to render: which template, with what."""

    key: str
    variables: dict[str, Any]


class Batch(msgspec.Struct, array_like=True):
    """Templates by key, and the items that use them."""

    sources: dict[str, Source]
    items: list[Item]


class Reply(msgspec.Struct, array_like=True, omit_defaults=True):
    """What became of one item: text, or the missing names, or a refusal; `leaving` when the worker ends after it."""

    subject: str = ""
    html: str = ""
    text: str = ""
    missing: list[str] = []
    refusal: str = ""
    leaving: bool = False


class Compiled:
    """A template version, compiled; `missing` is where its environment notes unset names."""

    def __init__(self, source: Source) -> None:
        self.missing: list[str] = []
        self.handlebars = source.syntax == "handlebars"
        self.chains: list[str] = []
        self.subject = self._compile(source.subject, html=False)
        self.body = self._compile(source.body, html=True)

    def _compile(self, source: str, *, html: bool) -> Template:
        tree = parse(source)
        problems = problems_of(tree, handlebars=self.handlebars)
        if problems:
            raise TemplateError(f"line {problems[0][0]}: {problems[0][1]}")
        self.chains += chains_of(tree)
        # A translated template escapes by itself, exactly as Handlebars does.
        environment = PlainDataEnvironment(
            autoescape=html and not self.handlebars, missing=self.missing, handlebars=self.handlebars
        )
        return environment.from_string(source)

    def render(self, variables: dict[str, Any]) -> Reply:
        """The mail's parts, or what is missing."""
        self.missing.clear()
        data = {"f0": root_frame(variables, self.missing)} if self.handlebars else variables
        try:
            subject, html = _bounded(self.subject, data), _bounded(self.body, data)
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            if not self.missing and isinstance(error, _TooLong):
                return Reply(refusal=f"the template prints over {OUTPUT_CHARS} characters")
            if not self.missing:
                # The message could quote a variable's value, which may be secret.
                return Reply(refusal=f"the template fails with this data: {type(error).__name__}")
        if self.missing:
            return Reply(missing=[self._full_name(name, variables) for name in self.missing])
        html = disarm(html)
        return Reply(subject=subject.strip(" "), html=html, text=to_plain_text(html))

    def _full_name(self, name: str, variables: dict[str, Any]) -> str:
        """`user.name` for `.name`, looked up in something: the template's first path that ends so and fails."""
        if self.handlebars or not name.startswith("."):
            return name
        paths = (chain for chain in self.chains if chain.endswith(name) and not _is_there(variables, chain))
        return next(paths, name[1:])


def _is_there(variables: Any, chain: str) -> bool:
    for name in chain.split("."):
        if not isinstance(variables, dict) or name not in variables:
            return False
        variables = variables[name]
    return True


class _TooLong(TemplateError):
    """What it printed passes the bound; its name would say nothing to a template's author."""


def _bounded(template: Template, data: dict[str, Any]) -> str:
    parts, size = [], 0
    for part in template.root_render_func(template.new_context(data)):
        size += len(part)
        if size > OUTPUT_CHARS:
            raise _TooLong
        parts.append(part)
    return "".join(parts)


class Worker:
    """Renders items, keeping the compiled form of the template versions used last."""

    def __init__(self) -> None:
        self._compiled: OrderedDict[str, Compiled] = OrderedDict()

    def answer(self, item: Item, sources: dict[str, Source]) -> Reply:
        """The reply to one item; no exception but MemoryError's kin leaves it unanswered."""
        try:
            return self._template(item.key, sources).render(item.variables)
        except MemoryError:
            self._compiled.clear()
            return Reply(refusal="memory", leaving=True)
        except RecursionError:
            return Reply(refusal="the template or its data is nested too deeply")
        except TemplateError as error:
            return Reply(refusal=f"the template cannot be compiled: {error.message}")
        except SyntaxError:
            return Reply(refusal="the template cannot be compiled: blocks are nested too deeply")

    def _template(self, key: str, sources: dict[str, Source]) -> Compiled:
        compiled = self._compiled.get(key)
        if compiled is None:
            compiled = self._compiled[key] = Compiled(sources[key])
            if len(self._compiled) > _KEPT_TEMPLATES:
                self._compiled.popitem(last=False)
        else:
            self._compiled.move_to_end(key)
        return compiled


def main() -> None:
    """Serve batches from stdin until it closes."""
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    # Nothing but frames may reach the parent.
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    gc.freeze()
    worker, decoder = Worker(), msgspec.msgpack.Decoder(Batch)
    _write(replies, Reply())
    while head := requests.read(4):
        try:
            batch = decoder.decode(requests.read(int.from_bytes(head, "big")))
        except MemoryError:
            sys.exit(1)
        for item in batch.items:
            _limit_processor()
            reply = worker.answer(item, batch.sources)
            _write(replies, reply)
            if reply.leaving:
                # The heap is torn to pieces; a fresh process is cheaper than trusting it.
                sys.exit(0)


def _limit_processor() -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + 1 + PROCESSOR_S
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _write(replies: BinaryIO | Any, reply: Reply) -> None:
    frame = memoryview(_ENCODER.encode(reply))
    frame = memoryview(len(frame).to_bytes(4, "big") + frame)
    while frame:
        frame = frame[replies.write(frame) :]


_ENCODER = msgspec.msgpack.Encoder()

if __name__ == "__main__":
    main()
