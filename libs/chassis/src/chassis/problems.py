"""Every error as one RFC 9457 problem: what a caller may know of it, and nothing of what is inside."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import asyncpg
import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import (
    ClientException,
    HTTPException,
    InternalServerException,
    ValidationException,
)
from litestar.status_codes import HTTP_413_REQUEST_ENTITY_TOO_LARGE

from chassis.logs import shown_path
from chassis.telemetry import current_trace_id
from contracts.errors import (
    Conflict,
    FieldError,
    Invalid,
    Malformed,
    ServiceError,
    TooLarge,
    Unavailable,
)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of every error answer. `code` is stable and machine-readable; `trace_id` finds it in the logs."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    trace_id: str
    errors: tuple[FieldError, ...] = ()


def problem_body(
    status: int,
    code: str,
    title: str,
    detail: str,
    instance: str,
    trace_id: str,
    errors: Sequence[FieldError] = (),
) -> bytes:
    """The JSON of a problem, for whoever answers outside Litestar."""
    # A path may hold what JSON cannot: surrogates from undecodable bytes.
    instance = instance.encode("utf-8", "replace").decode()
    type_ = f"urn:problem:{code}"
    return msgspec.json.encode(Problem(type_, title, status, detail, instance, code, trace_id, tuple(errors)))


def headers_of(error: ServiceError) -> dict[str, str]:
    """The headers that HTTP asks for beside the status of `error`."""
    headers: dict[str, str] = {}
    if error.status == 401:
        headers["WWW-Authenticate"] = f'Bearer error="{error.code}"'
    if error.retry_after_s is not None or error.status == 503:
        headers["Retry-After"] = str(error.retry_after_s or RETRY_AFTER_S)
    return headers


def as_service_error(error: BaseException) -> ServiceError | None:
    """What the caller may be told of `error`; None when it is a defect of ours."""
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, asyncpg.PostgresError):
        return _of_sqlstate(error.sqlstate or "")
    if isinstance(error, asyncpg.DataError):
        return Invalid("A value is outside what can be stored.", code="value_out_of_range")
    if isinstance(error, asyncpg.InterfaceError) and "clos" not in str(error):
        return None  # the driver is misused: a defect. When the connection or pool is closed it is the one below
    if isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError | OSError | TimeoutError):
        return Unavailable("A dependency is away for now.", retry_after_s=RETRY_AFTER_S)
    if isinstance(error, msgspec.ValidationError):
        return Invalid("The request is refused.", errors=(field_error(str(error)),))
    if isinstance(error, RecursionError | UnicodeError):
        return Malformed("The request cannot be read.")
    return None


def field_error(message: str) -> FieldError:
    """msgspec's words, split into where and what: "Expected `int`, got `str` - at `$.port`"."""
    what, _, where = message.partition(" - at `")
    return FieldError(field=where.rstrip("`") or "$", message=what)


def render(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The exception handler of every app: logs what is ours to mend, answers a problem."""
    known = as_service_error(error) or _of_http_exception(error)
    headers: dict[str, str] = {}
    errors: tuple[FieldError, ...] = ()
    if known is None and isinstance(error, HTTPException) and error.status_code < 500:
        status = error.status_code
        phrase = HTTPStatus(status).phrase
        title, code = phrase.capitalize(), phrase.lower().replace(" ", "_").replace("-", "_")
        detail = f"{title}."
        headers = {"Allow": error.headers["allow"]} if error.headers and "allow" in error.headers else {}
    elif known is None:
        structlog.get_logger("chassis").error("request.failed", path=shown_path(request.scope), exc_info=error)
        status, code, title = 500, ServiceError.default_code, ServiceError.title
        detail = "Something went wrong on our side; the trace id finds it in our logs."
    else:
        status, code, title, detail, errors = known.status, known.code, known.title, known.detail, known.errors
        headers = headers_of(known)
        if known is not error and status >= 500:
            structlog.get_logger("chassis").warning("request.unavailable", cause=repr(error))
    body = problem_body(status, code, title, detail, request.scope["path"], current_trace_id(), errors)
    return Response(body, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def _of_sqlstate(state: str) -> ServiceError | None:
    if state.startswith("22"):
        return Invalid("A value is outside what can be stored.", code="value_out_of_range")
    if state in ("23505", "23P01"):
        return Conflict("It exists already.", code="already_exists")
    if state == "23503":
        return Conflict("Something that it refers to is missing, or still refers to it.", code="reference_conflict")
    if state.startswith("23"):
        return Invalid("The values break a rule of the data.", code="constraint_violated")
    if state in ("40001", "40P01", "55P03"):
        return Unavailable("Others are changing the same thing; try again.", code="busy", retry_after_s=1)
    if state[:2] in ("08", "53", "57", "28", "3D") or state == "25P03":
        # 28 and 3D: the roles or the database are not there yet. A statement cancelled by its time limit is a 57.
        return Unavailable("The database is away for now.", code="database_unavailable", retry_after_s=RETRY_AFTER_S)
    return None


def _of_http_exception(error: Exception) -> ServiceError | None:
    if isinstance(error, ValidationException):
        return _of_validation(error)
    if not isinstance(error, HTTPException):
        return None
    if error.status_code == HTTP_413_REQUEST_ENTITY_TOO_LARGE:
        return TooLarge("The body is larger than this operation reads.")
    if isinstance(error, InternalServerException) and "client disconnected" in error.detail:
        return Malformed("The body was not sent to its end.")  # nobody reads this, and it is no defect of ours
    if isinstance(error, ClientException) and error.status_code == 400:
        return Malformed("The request cannot be read.")
    return None


def _of_validation(error: ValidationException) -> ServiceError:
    found: list[FieldError] = []
    for item in error.extra if isinstance(error.extra, list) else ():
        if not isinstance(item, dict):
            continue
        source = item.get("source", "")
        source, key = str(getattr(source, "value", source)), str(item.get("key", ""))
        field = f"$.{key}".removesuffix(".data") if source == "body" else f"{source or 'request'}.{key}"
        found.append(FieldError(field=field, message=str(item.get("message", "refused"))))
    if any(item.field.startswith("$") for item in found):
        return Invalid("The body is refused.", errors=found)
    return Malformed("A parameter is missing or refused.", code="bad_parameter", errors=found)
