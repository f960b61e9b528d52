"""The fake Asaas' webhooks: up to ten addresses, each with a queue that stops after fifteen failures in a row."""

import json
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from testkit.fake_asaas.refusals import Refusal, invalid, not_found
from testkit.fake_asaas.shapes import shown
from testkit.fake_asaas.world import Object
from testkit.fake_hooks import HookFaults, HookQueue, Hooks

FAILURES_TO_PAUSE = 15
_MOST = 10
_TOKEN_LENGTHS = range(32, 256)


class Webhooks:
    """The registered ones, by id; `forge` changes what a delivery says of an object without changing the object."""

    def __init__(self, faults: HookFaults, retry_s: float, time_text: Callable[[], str]) -> None:
        self._retry_s = retry_s
        self._time_text = time_text
        self._webhooks: dict[str, Object] = {}
        self._serial = 0
        self.forge: Callable[[Object], Object] = lambda found: found
        self.hooks = Hooks(self._queue, faults)

    def _queue(self, url: str) -> HookQueue:
        token = next(one["authToken"] for one in self._webhooks.values() if one["url"] == url)
        headers = {"Content-Type": "application/json", "User-Agent": "Asaas_Hmlg/3.0"}
        if token:
            headers["asaas-access-token"] = token
        return HookQueue(
            url,
            lambda _: headers,
            lambda status: status == 200,  # 201 and 204 are failures too
            self.hooks.faults,
            failures_to_pause=FAILURES_TO_PAUSE,
            retry_s=self._retry_s,
        )

    def emit(self, event: str, field: str, found: Object) -> None:
        """Puts an event in each queue that wants it, with the object as it is at this moment."""
        self._serial += 1
        body = {
            "id": f"evt_{secrets.token_hex(16)}&{self._serial}",
            "event": event,
            "dateCreated": self._time_text(),
            "account": {"id": "47ed0d25-f9fb-4b35-b23a-d8895caf92b7", "ownerId": None},
            field: self.forge(shown(found)),
        }
        self.send(body)

    def send(self, body: Mapping[str, Any]) -> None:
        """Sends any body as if Asaas had: with the token, to everybody who wants such an event."""
        raw = json.dumps(body, separators=(",", ":")).encode()
        for one in self._webhooks.values():
            if one["enabled"] and (not one["events"] or body["event"] in one["events"]):
                self.hooks.queue(one["url"]).put(raw)

    def add(self, body: Mapping[str, Any]) -> Object:
        """POST /webhooks."""
        token, url = body.get("authToken"), str(body.get("url", ""))
        if len(self._webhooks) >= _MOST:
            raise Refusal(400, "invalid_webhook", "O limite de webhooks da conta foi atingido.")
        if not url.startswith(("http://", "https://")):
            raise invalid("url", "A URL do webhook é inválida.")
        if token and len(str(token)) not in _TOKEN_LENGTHS:
            raise invalid("authToken", "O token de autenticação deve ter entre 32 e 255 caracteres.")
        webhook_id = secrets.token_hex(8)
        self._webhooks[webhook_id] = {
            "id": webhook_id,
            "name": body.get("name"),
            "url": url,
            "email": body.get("email"),
            "enabled": body.get("enabled", True),
            "authToken": token,
            "apiVersion": 3,
            "sendType": body.get("sendType", "SEQUENTIALLY"),
            "events": list(body.get("events") or []),
        }
        self.hooks.queue(url)
        return self.one(webhook_id)

    def one(self, webhook_id: str) -> Object:
        """As the API shows it: the token only by whether it is there."""
        if webhook_id not in self._webhooks:
            raise not_found("Webhook")
        found = self._webhooks[webhook_id]
        queue = self.hooks.queue(found["url"])
        hidden = {name: value for name, value in found.items() if name != "authToken"}
        return hidden | {"interrupted": queue.interrupted, "hasAuthToken": bool(found["authToken"])}

    def shown(self) -> list[Object]:
        """All of them."""
        return [self.one(webhook_id) for webhook_id in self._webhooks]

    def change(self, webhook_id: str, body: Mapping[str, Any]) -> Object:
        """PUT /webhooks/{id}: `interrupted: false` lets a paused queue go on."""
        queue = self.hooks.queue(self.one(webhook_id)["url"])
        for name in ("name", "email", "enabled", "events"):
            if name in body:
                self._webhooks[webhook_id][name] = body[name]
        if body.get("interrupted") is False:
            queue.resume()
        elif body.get("interrupted") is True:
            queue.interrupted = True
        return self.one(webhook_id)

    def remove(self, webhook_id: str) -> Object:
        """DELETE /webhooks/{id}."""
        self.hooks.remove(self.one(webhook_id)["url"])
        del self._webhooks[webhook_id]
        return {"deleted": True, "id": webhook_id}
