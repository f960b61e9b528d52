"""The run's broker is empty for each test; a private one can be crashed and wiped."""

import aio_pika

from testkit.embedded.broker import EmbeddedBroker, embedded_broker


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


async def test_a_new_run_ends_the_broker_of_a_killed_one_and_finds_its_confirmed_messages(
    private_broker: EmbeddedBroker,
) -> None:
    url = private_broker.url
    await _declare_and_count(url, "kept", publish=2)
    successor = embedded_broker(private_broker.directory)
    successor.start()  # kills the orphan: a crash, as far as its data is concerned
    assert not private_broker.running
    assert await _declare_and_count(successor.url, "kept", publish=0) == 2
    successor.wipe()
    url = successor.start()
    assert await _declare_and_count(url, "kept", publish=0) == 0
    successor.crash()
