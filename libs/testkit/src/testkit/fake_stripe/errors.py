"""What Stripe says when it does not do something, in its own JSON."""

from typing import Any


class Refusal(Exception):
    """An error answer. `is_kept` says whether a key replays it: Stripe keeps answers from when it began to act on."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        is_kept: bool = True,
        **more: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.is_kept = is_kept
        fields = {"code": code, "message": message, "param": param, "type": kind, **more}
        self.body = {"error": {name: value for name, value in fields.items() if value is not None}}


def invalid(message: str, param: str, code: str | None = None) -> Refusal:
    """A parameter that cannot be: nothing was begun, so that a key is not used up."""
    return Refusal(message, param=param, code=code, is_kept=False)


def missing(kind: str, object_id: str, param: str = "id") -> Refusal:
    """An object that is not there: 404 when the path names it, 400 when a parameter does."""
    status = 404 if param == "id" else 400
    message = f"No such {kind.replace('.', ' ').replace('_', ' ')}: '{object_id}'"
    return Refusal(message, status=status, code="resource_missing", param=param)


def declined() -> Refusal:
    """A card that its bank does not let pay."""
    return Refusal(
        "Your card was declined.",
        status=402,
        kind="card_error",
        code="card_declined",
        decline_code="generic_decline",
    )
