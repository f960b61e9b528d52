"""Problems that also carry the members in which a seed's front end looks for the reason.

`@post("/auth/login", exception_handlers=seed_errors("002"))` adds `{"success": false, "message": ...}`,
`seed_errors("004")` adds `{"message": ..., "details": ...}`.
"""

from collections.abc import Callable
from typing import Any, Literal

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException

from chassis.problems import render
from contracts.errors import ServiceError

ExceptionHandlers = dict[int | type[Exception], Callable[[Request[Any, Any, Any], Any], Response[bytes]]]


def seed_errors(seed: Literal["002", "004"]) -> ExceptionHandlers:
    """What a route answers its errors with: the problem as everywhere, with that seed's members as well."""

    def answer(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
        problem = render(request, error)
        body = msgspec.json.decode(problem.content, type=dict[str, Any])
        members: dict[str, Any] = {"message": body["detail"]}
        if seed == "002":
            members["success"] = False
        elif "errors" in body:
            members["details"] = body["errors"]
        problem.content = msgspec.json.encode(body | members)
        return problem

    return {Exception: answer, HTTPException: answer, ServiceError: answer}
