"""Logs as one JSON object per line on stdout, with secrets removed by key and by value."""

import logging
import re
import sys
import traceback
from collections.abc import Iterable, MutableMapping
from typing import Any, TextIO

import msgspec
import structlog

from chassis.settings import Secret
from chassis.telemetry import current_trace_id

_SECRET_KEY = re.compile(
    r"pass(word|wd|phrase)?$|_pass$|secret|token|authori[sz]ation|cookie|api_?key|private_?key|credential|variables$"
    r"|jwt|signature|x-internal-identity",
    re.IGNORECASE,
)
_CREDENTIALS_IN_URL = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@]*):[^\s@/]+@", re.IGNORECASE)
_BEARER = re.compile(r"\b(Bearer\s+)\S+|\beyJ[\w-]+\.[\w-]+\.[\w-]*", re.IGNORECASE)
_MIN_VALUE_CHARS = 6  # shorter ones would blank out ordinary words
_HIDDEN = "***"


class Redactor:
    """Hides values under telling keys, registered secret values anywhere, and credentials in URLs and headers."""

    def __init__(self) -> None:
        self._values: set[str] = set()

    def hide(self, values: Iterable[str]) -> None:
        """From now on `values` are never printed."""
        self._values |= {value for value in values if len(value) >= _MIN_VALUE_CHARS}

    def clean(self, value: Any, depth: int = 0) -> Any:
        """`value` without secrets, made of what JSON can hold."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Secret):
            return _HIDDEN
        if isinstance(value, MutableMapping) and depth < 6:
            fields = ((str(key), item) for key, item in value.items())
            return {k: _HIDDEN if _SECRET_KEY.search(k) else self.clean(item, depth + 1) for k, item in fields}
        if isinstance(value, list | tuple | set | frozenset) and depth < 6:
            return [self.clean(item, depth + 1) for item in value]
        text = value if isinstance(value, str) else repr(value)
        for secret in self._values:
            text = text.replace(secret, _HIDDEN)
        text = _CREDENTIALS_IN_URL.sub(rf"\1:{_HIDDEN}@", text)
        text = _BEARER.sub(lambda match: f"{match[1] or ''}{_HIDDEN}", text)
        return text.encode("utf-8", "backslashreplace").decode()


def shown_path(scope: Any) -> str:
    """A request's path without the values of parameters that name a secret, as `/reset-password/{token}` does."""
    path: str = scope["path"]
    for name, value in (scope.get("path_params") or {}).items():
        if _SECRET_KEY.search(name):
            path = path.replace(str(value), _HIDDEN)
    return path


class JsonFormatter(logging.Formatter):
    """A record of structlog or of the standard library, as one redacted line of JSON."""

    def __init__(self) -> None:
        super().__init__()
        self.redactor = Redactor()

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        fields: dict[str, Any] = dict(record.msg) if isinstance(record.msg, dict) else {"event": record.getMessage()}
        line = {
            "at": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}",
            "level": record.levelname.lower(),
            "event": fields.pop("event", ""),
            "logger": record.name,
            "trace_id": current_trace_id(),
            **fields,
        }
        error = line.pop("exc_info", None) or (record.exc_info and record.exc_info[1])
        if isinstance(error, BaseException):
            line["exception"] = "".join(traceback.format_exception(error))
        return msgspec.json.encode(self.redactor.clean(line)).decode()


class _StdoutHandler(logging.StreamHandler[TextIO]):
    """Writes to what `sys.stdout` is at the time, which a test runner replaces."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        return sys.stdout

    @stream.setter
    def stream(self, value: TextIO) -> None:
        raise AttributeError("it is always sys.stdout")


def install(level: str, secrets: Iterable[str], stream: TextIO | None = None) -> None:
    """Routes structlog and the standard library to one JSON handler; called again, it adds `secrets` to hide.

    The handler is the process's, as the standard library's root logger is: apps that share a process share it.
    """
    root = logging.getLogger()
    formatters = (handler.formatter for handler in root.handlers)
    formatter = next((f for f in formatters if isinstance(f, JsonFormatter)), None)
    if formatter is None or stream is not None:
        formatter = formatter or JsonFormatter()
        handler = logging.StreamHandler(stream) if stream else _StdoutHandler()
        handler.setFormatter(formatter)
        root.addHandler(handler)
    formatter.redactor.hide(secrets)
    root.setLevel(level.upper())
    # httpx logs whole URLs at INFO; aiormq reports as an error what the bus retries and reports itself.
    for noisy, enough in {"asyncio": "WARNING", "uvicorn": "WARNING", "httpx": "WARNING", "aiormq": "CRITICAL"}.items():
        logging.getLogger(noisy).setLevel(enough)
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
