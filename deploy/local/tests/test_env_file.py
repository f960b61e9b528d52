"""What is written can be read back, by us and by a shell, and by nobody else."""

import subprocess
from pathlib import Path

from runner.env_file import read_env, write_env
from runner.local_secrets import local_secrets

ODD = {"URL": "amqp://u:p%20w@h/", "SPACED": "a b", "QUOTED": 'it\'s "so" $HOME `x`', "EMPTY": ""}


def test_odd_values_survive_the_file_and_a_shell(tmp_path: Path) -> None:
    path = tmp_path / "local.env"
    write_env(path, ODD, comment="a comment")
    assert read_env(path) == ODD
    assert path.stat().st_mode & 0o777 == 0o600
    sourced = subprocess.run(
        ["sh", "-c", f'. {path}; printf "%s" "$QUOTED"'], capture_output=True, text=True, check=True
    )
    assert sourced.stdout == ODD["QUOTED"]


def test_secrets_are_made_once_and_replaced_but_not_overwritten_by_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "secrets.env"
    first = local_secrets(path, {})
    assert path.stat().st_mode & 0o777 == 0o600
    assert all(len(value) >= 32 for value in first.values())
    assert len(set(first.values())) == len(first)
    given = local_secrets(path, {"JWT_SECRET": "given", "UNRELATED": "x"})
    assert given == first | {"JWT_SECRET": "given"}
    assert local_secrets(path, {}) == first
