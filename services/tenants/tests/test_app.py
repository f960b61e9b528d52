"""The service starts, and says that it is ready."""

from typing import Any


async def test_it_becomes_ready(start: Any) -> None:
    tenants = await start()
    answer = await tenants.http.get("/health/ready")
    assert (answer.status_code, answer.json()["status"]) == (200, "ready"), answer.text
