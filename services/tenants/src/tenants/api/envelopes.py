"""Seed 002's envelope: `{success, message?, data?}`."""

from typing import Generic, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

T = TypeVar("T")


class Answer(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """What was done, and what came of it."""

    success: bool = True
    message: str | UnsetType = UNSET
    data: T | UnsetType = UNSET


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What was done, where nothing comes of it that the caller may know."""

    success: bool = True
    message: str
