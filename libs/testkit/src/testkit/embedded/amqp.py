"""Owns what every private broker shares: its remembered ports and credentials, and the question whether it answers."""

import base64
import hashlib
import json
import secrets
import socket
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from testkit.embedded.place import private_file
from testkit.embedded.process import LOOPBACK, EmbeddedError, free_port

USER = "backoffice"


class Endpoint:
    """The ports and the password of one broker; kept in a file, so that clients' URLs survive restarts."""

    def __init__(self, directory: Path, names: Sequence[str]) -> None:
        self._file = directory / "broker.json"
        self._names = names
        self.ports: dict[str, int] = {}
        self.password = ""

    @property
    def url(self) -> str:
        """The amqp:// URL. Raises: EmbeddedError before the first start."""
        if not self.ports:
            raise EmbeddedError("the broker was not started yet")
        return f"amqp://{USER}:{quote(self.password)}@{LOOPBACK}:{self.ports['amqp']}/"

    def settle(self, *, fresh: bool = False) -> None:
        """Choose ports: this object's own, else the remembered ones where free, else (or when `fresh`) new ones."""
        remembered = json.loads(self._file.read_text()) if self._file.exists() else {}
        self.password = remembered.get("password") or secrets.token_urlsafe(24)
        if self.ports and not fresh:
            return
        self.ports = {}
        for name in self._names:
            port = free_port(None if fresh else remembered.get("ports", {}).get(name))
            while port in self.ports.values():
                port = free_port()
            self.ports[name] = port
        private_file(self._file, json.dumps({"password": self.password, "ports": self.ports}))

    def lavinmq_password_hash(self) -> str:
        """The password as LavinMQ takes it: base64 of a 4-byte salt and SHA-256 over salt and password."""
        salt = secrets.token_bytes(4)
        return base64.b64encode(salt + hashlib.sha256(salt + self.password.encode()).digest()).decode()


def answers_amqp(port: int, host: str = LOOPBACK) -> bool:
    """Whether a broker offers an AMQP 0-9-1 session there, which is more than an open port."""
    try:
        with socket.create_connection((host, port), timeout=2) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return connection.recv(1) == b"\x01"  # A method frame: connection.start.
    except OSError:
        return False
