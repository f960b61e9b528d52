"""PagBank's errors: a list of messages, each with a code, a description and the parameter that it is about."""

from typing import Any


class Refusal(Exception):
    """An error answer."""

    def __init__(self, status: int, code: str, description: str, parameter: str | None = None) -> None:
        super().__init__(description)
        self.status = status
        message = {"code": code, "description": description}
        if parameter:
            message["parameter_name"] = parameter
        self.body: dict[str, Any] = {"error_messages": [message]}


def missing(parameter: str) -> Refusal:
    """400 for what has to be there."""
    return Refusal(400, "40001", "required_parameter", parameter)


def invalid(parameter: str) -> Refusal:
    """400 for what cannot be."""
    return Refusal(400, "40002", "invalid_parameter", parameter)


def not_found() -> Refusal:
    """404, the same for another account's."""
    return Refusal(404, "40400", "resource_not_found")


def refused(description: str) -> Refusal:
    """400 for what the charge's state does not allow."""
    return Refusal(400, "42001", description)
