"""Every error has a status and a code of its own, and its docstring's tree is the truth."""

import re

from contracts import errors
from contracts.errors import FieldError, ServiceError

#: Other packages may derive errors of their own.
OURS = [cls for cls in ServiceError.__subclasses__() if cls.__module__ == errors.__name__]


def test_the_tree_in_the_docstring_is_the_code() -> None:
    drawn = re.findall(r"[├└]── (\w+) +(\d{3})", errors.__doc__ or "")
    assert drawn == [(cls.__name__, str(cls.status)) for cls in OURS]


def test_codes_are_distinct_and_can_be_narrowed() -> None:
    codes = [cls.default_code for cls in OURS]
    assert len(codes) == len(set(codes))
    error = errors.Invalid("no", code="bad_slug", errors=[FieldError("$.slug", "taken")], retry_after_s=3)
    assert (error.code, error.errors, error.retry_after_s, str(error)) == (
        "bad_slug",
        (FieldError("$.slug", "taken"),),
        3,
        "no",
    )
