"""`make demo`: publishes a mail job as the Go core does, with a plain AMQP client, and shows what came of it."""

import asyncio
import email
import email.policy
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import aio_pika
import httpx
import msgspec

from runner.demo_data import DEMO_TENANT_ID, TEMPLATE, sign_ins
from runner.env_file import read_env
from runner.layout import Layout, LocalError, here
from testkit.embedded.process import LOOPBACK

QUEUE = "mail_queue"
_PATIENCE_S = 30.0


def demo_job(to: str) -> dict[str, Any]:
    """A job for the demo tenant's template, as the Go core would write it."""
    variables = {"name": "Ana", "company": "Demo Ltda", "link": "https://app.example.com/start"}
    return {"to": to, "template": TEMPLATE["slug"], "variables": variables, "tenant_id": str(DEMO_TENANT_ID)}


async def publish(amqp_url: str, job: Mapping[str, Any]) -> str:
    """Publish one persistent job and return its message id once the broker has confirmed it."""
    message_id = str(uuid.uuid4())
    connection = await aio_pika.connect(amqp_url)
    async with connection:
        channel = await connection.channel()
        await channel.declare_queue(QUEUE, passive=True)
        message = aio_pika.Message(
            msgspec.json.encode(job),
            content_type="application/json",
            message_id=message_id,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        await channel.default_exchange.publish(message, QUEUE)
    return message_id


async def demo(env: Mapping[str, str], out: Callable[[str], None] = print) -> None:
    """Publish, wait for the mail, show it and the delivery log. Raises: LocalError when nothing arrives."""
    url, mail_dir = f"http://{LOOPBACK}:{env['PORT']}", Path(env["MAIL_DIR"])
    to = f"ana.{uuid.uuid4().hex[:8]}@example.com"
    job = demo_job(to)
    token = sign_ins(env["JWT_SECRET"]).owner
    async with httpx.AsyncClient(base_url=url, timeout=10, trust_env=False) as client:
        try:
            (await client.get("/health/ready")).raise_for_status()
        except httpx.HTTPError as error:
            raise LocalError(f"nothing answers at {url}: start it with `make run` first ({error})") from None
        client.headers["Authorization"] = f"Bearer {token}"
        began = time.monotonic()
        out(f"publishing to {QUEUE}: {msgspec.json.encode(job).decode()}")
        await publish(env["AMQP_URL"], job)
        entry = await _logged(client, to)
        out(f"the mail is {entry['status']}, {time.monotonic() - began:.2f} s later")
        if (arrived := _arrived(mail_dir, to)) is not None:
            path, message = arrived
            out(f"\n{path}")
            for header in ("From", "To", "Subject", "Message-ID"):
                out(f"  {header}: {message[header]}")
            body = message.get_body(("plain", "html"))
            out("\n" + "".join(f"  {line}\n" for line in (body.get_content() if body else "").splitlines()))
        out(f"GET {url}/api/emails as the demo tenant's owner:")
        out("  " + msgspec.json.format(msgspec.json.encode(entry)).decode().replace("\n", "\n  "))


async def _logged(client: httpx.AsyncClient, to: str) -> dict[str, Any]:
    """The delivery log's entry of this recipient, once its fate is known."""
    deadline = time.monotonic() + _PATIENCE_S
    status = "not known to the mailer"
    while time.monotonic() < deadline:
        page = (await client.get("/api/emails")).raise_for_status().json()
        entry: dict[str, Any]
        for entry in page["data"]:
            if entry.get("to_email") == to:
                status = entry["status"]
                if status not in ("queued", "sending"):
                    return entry
        await asyncio.sleep(0.1)
    raise LocalError(f"after {_PATIENCE_S:g} s the mail is {status}: see the log of `make run`")


def _arrived(mail_dir: Path, to: str) -> tuple[Path, EmailMessage] | None:
    """The newest kept mail to this recipient; None where SMTP_URL sends elsewhere."""
    for path in sorted(mail_dir.glob("*.eml"), reverse=True):
        message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        if to in str(message["X-Envelope-To"]) and isinstance(message, EmailMessage):
            return path, message
    return None


def main(layout: Layout) -> int:
    """Run against the local system of a checkout."""
    env = read_env(layout.local_env)
    try:
        if not env:
            raise LocalError(f"no {layout.local_env.relative_to(layout.root)}: start it with `make run` first")
        asyncio.run(demo(env))
    except (LocalError, httpx.HTTPError, aio_pika.exceptions.AMQPError, OSError) as error:
        print(f"make demo: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(here()))
