"""Asaas' errors: always a list, in Portuguese, with a code of the pattern `invalid_<field>`."""

from typing import Any


class Refusal(Exception):
    """An error answer."""

    def __init__(self, status: int, code: str, description: str) -> None:
        super().__init__(description)
        self.status = status
        self.body: dict[str, Any] = {"errors": [{"code": code, "description": description}]}


def invalid(field: str, description: str) -> Refusal:
    """400 for one field."""
    return Refusal(400, f"invalid_{field}", description)


def refused(description: str) -> Refusal:
    """400 for what the object's state does not allow."""
    return Refusal(400, "invalid_action", description)


def not_found(what: str) -> Refusal:
    """404, the same for another account's."""
    return Refusal(404, "not_found", f"{what} não encontrado(a).")
