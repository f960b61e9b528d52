"""A sealed secret opens in its own row only, and survives a rotation of the key."""

from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.secrets import SecretBox, SecretUnreadable
from chassis.settings import Secret

OLD, NEW = Secret("old" * 16), Secret("new" * 16)
TENANT, ROW = uuid4(), uuid4()


@given(st.text())
def test_opens_what_it_sealed(text: str) -> None:
    box = SecretBox(NEW)
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        return
    sealed = box.seal(text, TENANT, "email_settings", ROW)
    assert box.open(sealed, TENANT, "email_settings", ROW) == text
    assert sealed != box.seal(text, TENANT, "email_settings", ROW)
    if len(text) > 3:
        assert text.encode() not in sealed


def test_a_swap_is_detected() -> None:
    box = SecretBox(NEW)
    sealed = box.seal("hunter2", TENANT, "email_settings", ROW)
    for tenant, table, row in (
        (uuid4(), "email_settings", ROW),
        (TENANT, "email_templates", ROW),
        (TENANT, "email_settings", uuid4()),
    ):
        with pytest.raises(SecretUnreadable):
            box.open(sealed, tenant, table, row)


def test_every_changed_bit_and_every_truncation_is_detected() -> None:
    box = SecretBox(NEW)
    sealed = box.seal("hunter2", TENANT, "t", ROW)
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        with pytest.raises(SecretUnreadable):
            box.open(bytes(changed), TENANT, "t", ROW)
        with pytest.raises(SecretUnreadable):
            box.open(sealed[:position], TENANT, "t", ROW)


def test_rotation() -> None:
    sealed = SecretBox(OLD).seal("hunter2", TENANT, "t", ROW)
    both = SecretBox(NEW, OLD)
    assert both.open(sealed, TENANT, "t", ROW) == "hunter2"
    assert not both.is_current(sealed)
    resealed = both.seal(both.open(sealed, TENANT, "t", ROW), TENANT, "t", ROW)
    assert both.is_current(resealed)
    only = SecretBox(NEW)
    assert only.open(resealed, TENANT, "t", ROW) == "hunter2"
    with pytest.raises(SecretUnreadable) as caught:
        only.open(sealed, TENANT, "t", ROW)
    assert "hunter2" not in str(caught.value)
