"""The run's broker is empty for each test; a private one can be crashed and wiped."""

import aio_pika

from testkit.embedded.broker import EmbeddedBroker


async def _declare_and_count(url: str, queue: str, publish: int) -> int:
    connection = await aio_pika.connect(url)
    async with connection:
        channel = await connection.channel()
        declared = await channel.declare_queue(queue, durable=True)
        for _ in range(publish):
            message = aio_pika.Message(b"x", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            await channel.default_exchange.publish(message, queue)
        return declared.declaration_result.message_count or 0


async def test_what_one_test_leaves_in_mail_queue(amqp_url: str) -> None:
    assert await _declare_and_count(amqp_url, "mail_queue", publish=3) == 0


async def test_the_next_one_does_not_find(amqp_url: str) -> None:
    assert await _declare_and_count(amqp_url, "mail_queue", publish=3) == 0


async def test_a_crash_keeps_confirmed_messages_and_a_wipe_does_not(private_broker: EmbeddedBroker) -> None:
    url = private_broker.url
    await _declare_and_count(url, "kept", publish=2)
    private_broker.crash()
    assert private_broker.start() == url
    assert await _declare_and_count(url, "kept", publish=0) == 2
    private_broker.wipe()
    assert private_broker.start() == url
    assert await _declare_and_count(url, "kept", publish=0) == 0
