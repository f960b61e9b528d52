"""Every error is a problem, and tells a caller nothing of what is inside."""

from .client import Client


async def test_writes_and_reads(client: Client) -> None:
    made = await client.post("/notes", json={"title": "um"})
    assert made.status_code == 201, made.text
    assert made.json()["title"] == "um"
    assert (await client.get("/notes")).json() == [made.json()]
    assert (await client.get(f"/notes/{made.json()['id']}")).json() == made.json()
