"""Owns the secrets of the local system: generated once, kept in var/secrets.env, replaced by the environment."""

import secrets
from collections.abc import Mapping
from pathlib import Path

from runner.env_file import read_env, write_env
from testkit.tokens import new_key_pair

_RANDOM = ("JWT_SECRET", "DB_ROLE_SECRET", "SECRETS_KEY")
_KEY_PAIR = ("INTERNAL_SIGNING_KEY", "INTERNAL_PUBLIC_KEY")


def local_secrets(path: Path, env: Mapping[str, str]) -> dict[str, str]:
    """Every secret the product needs; what is missing in the file is generated and stored there.

    A secret given in the environment holds for this run and is not stored.
    """
    stored = read_env(path)
    missing = {name: secrets.token_hex(32) for name in _RANDOM if name not in stored}
    if not all(name in stored for name in _KEY_PAIR):
        missing |= dict(zip(_KEY_PAIR, new_key_pair(), strict=True))
    if missing:
        stored |= missing
        write_env(
            path, stored, comment="Generated for this checkout alone; deleting it makes stored passwords unreadable."
        )
    return stored | {name: env[name] for name in (*_RANDOM, *_KEY_PAIR) if env.get(name)}
