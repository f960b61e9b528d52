"""Chooses and owns a private broker: lavinmq, else a RabbitMQ node of our own, else LavinMQ in a container."""

import shutil
from pathlib import Path
from typing import Protocol

from testkit.embedded.containers import LavinmqContainer, docker_answers
from testkit.embedded.lavinmq import LavinmqProcess
from testkit.embedded.process import EmbeddedError
from testkit.embedded.rabbitmq import SERVER, RabbitmqNode

CHOICES = (
    "no broker found. Choose one: set AMQP_URL to a running LavinMQ or RabbitMQ; put lavinmq on PATH; "
    "install RabbitMQ (Debian, as root: apt-get install rabbitmq-server, with its system unit masked if it must not "
    "start by itself); or start a Docker engine that can run the image cloudamqp/lavinmq"
)


class EmbeddedBroker(Protocol):
    """A broker of our own. The port and the credentials stay the same from the first start on."""

    directory: Path

    @property
    def url(self) -> str:
        """amqp:// URL with credentials; valid from the first start on."""
        ...

    def start(self, *, timeout_s: float = 90.0) -> str:
        """Start and return the URL once it answers AMQP. Raises: EmbeddedError."""
        ...

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        ...

    def give_up(self) -> None:
        """From another thread: make a `start` that still waits fail now; it is not to be started again."""
        ...

    def stop(self) -> None:
        """Orderly stop; nothing happens when it does not run."""
        ...

    def crash(self) -> None:
        """kill -9."""
        ...

    def wipe(self) -> None:
        """End it if it runs, at once, and delete everything it stored: queues, messages, users."""
        ...

    def end_orphans(self) -> None:
        """End what a killed run left behind in this directory; the caller makes sure that no living run uses it."""
        ...


def embedded_broker(directory: Path) -> EmbeddedBroker:
    """The first broker this machine can run, with its data under `directory`; it is not started yet.

    Raises: EmbeddedError naming the choices when there is none.
    """
    if (binary := shutil.which("lavinmq")) is not None:
        return LavinmqProcess(directory, Path(binary))
    if SERVER.exists():
        return RabbitmqNode(directory)
    if docker_answers():
        return LavinmqContainer(directory)
    raise EmbeddedError(CHOICES)
