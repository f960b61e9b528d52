"""Problems that also carry the member in which a seed's front end looks for the reason: `error` (002), `message` (004).

`@post("/payments/intent", exception_handlers=seed_errors("error"))`
"""

from collections.abc import Callable
from typing import Any, Literal

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException

from chassis.problems import render
from contracts.errors import ServiceError

ExceptionHandlers = dict[int | type[Exception], Callable[[Request[Any, Any, Any], Any], Response[bytes]]]


def seed_errors(member: Literal["error", "message"]) -> ExceptionHandlers:
    """What a route answers its errors with: the problem as everywhere, with its `detail` under `member` as well."""

    def answer(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
        problem = render(request, error)
        body = msgspec.json.decode(problem.content, type=dict[str, Any])
        problem.content = msgspec.json.encode(body | {member: body["detail"]})
        return problem

    return {Exception: answer, HTTPException: answer, ServiceError: answer}
