"""AMQP with transactional guarantees."""
