"""What every call to the API goes through: the key, the Idempotency-Key, Stripe's own failures."""

import asyncio
import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from testkit.fake_http import Answer, Request
from testkit.fake_stripe.errors import Refusal, invalid
from testkit.fake_stripe.forms import read_form
from testkit.fake_stripe.routes import answer
from testkit.fake_stripe.world import World

#: The first version without a writable list of methods.
ENDIVE = "2026-09-30"


class Crash(StrEnum):
    """Where Stripe itself fails with a 500, which a key replays as any other answer."""

    BEFORE = "before the effect"
    AFTER = "after the effect"


@dataclass
class _Kept:
    fingerprint: tuple[str, str, bytes]
    answer: Answer | None = None  # None while the first call is under way


class Front:
    """Answers calls. `crashes` are taken in order, one by each POST that is begun; None is none."""

    def __init__(self, world: World, api_key: str) -> None:
        self.api_key = api_key
        self.crashes: list[Crash | None] = []
        self.latency_s = 0.0
        self.permits: Callable[[Request], bool] = lambda _: True  # what a restricted key may do
        self._world = world
        self._kept: dict[str, _Kept] = {}

    async def respond(self, request: Request, url: str) -> Answer:
        """The answer; `url` is the fake's own address."""
        self._world.request_id = self._world.new_id("req")
        try:
            self._check_key(request)
            given = await self._answer(request, url)
        except Refusal as refusal:
            given = Answer(refusal.status, refusal.body)
        version = request.headers.get("stripe-version")
        given.headers = {
            "request-id": self._world.new_id("req"),
            **({"stripe-version": version} if version else {}),
            **given.headers,
        }
        return given

    def _check_key(self, request: Request) -> None:
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        key = credentials
        if scheme.lower() == "basic":
            key = base64.b64decode(credentials + "==").decode("latin-1").partition(":")[0]
        if not key:
            message = "You did not provide an API key. You need to provide your API key in the Authorization header."
            raise Refusal(message, status=401)
        if key != self.api_key:
            shown = f"{key[:8]}{'*' * max(len(key) - 12, 0)}{key[-4:]}"
            raise Refusal(f"Invalid API Key provided: {shown}", status=401)
        if not self.permits(request):
            message = f"The provided key '{key[:8]}***' does not have the required permissions for this endpoint."
            raise Refusal(message, status=403)

    async def _answer(self, request: Request, url: str) -> Answer:
        key = request.headers.get("idempotency-key") if request.method == "POST" else None
        if key is None:
            return await self._begin(request, None, url)
        fingerprint = (request.method, request.path, request.body)
        kept = self._kept.get(key)
        if kept is None:
            kept = self._kept[key] = _Kept(fingerprint)
            try:
                kept.answer = await self._begin(request, key, url)
            finally:
                if kept.answer is None:
                    del self._kept[key]
            return Answer(kept.answer.status, kept.answer.body, {"idempotency-key": key})
        if kept.fingerprint != fingerprint:
            raise Refusal(
                "Keys for idempotent requests can only be used with the same parameters they were first used with."
                f" Try using a key other than '{key}' if you meant to execute a different request.",
                kind="idempotency_error",
            )
        if kept.answer is None:
            raise Refusal(
                f"There is currently another in-progress request using this Idempotent Key ({key}).",
                status=409,
                kind="idempotency_error",
                code="idempotency_key_in_use",
            )
        return Answer(kept.answer.status, kept.answer.body, {"idempotency-key": key, "idempotent-replayed": "true"})

    async def _begin(self, request: Request, key: str | None, url: str) -> Answer:
        """The answer to keep under the key. Raises Refusal for one that is not kept."""
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        crash = self.crashes.pop(0) if self.crashes and request.method == "POST" else None
        internal = Answer(500, {"error": {"message": "An unknown error occurred", "type": "api_error"}})
        if crash is Crash.BEFORE:
            return internal
        form = request.query if request.method in ("GET", "DELETE") else request.body.decode("utf-8", "replace")
        self._world.key = key
        try:
            params = read_form(form)
            if "payment_method_types" in params and request.headers.get("stripe-version", "") >= ENDIVE:
                raise invalid(
                    "The payment_method_types parameter is no longer supported.",
                    "payment_method_types",
                    "payment_method_types_no_longer_supported",
                )
            found = answer(self._world, request.method, request.path, params, url)
        except Refusal as refusal:
            if not refusal.is_kept:
                raise
            return Answer(refusal.status, refusal.body)
        finally:
            self._world.key = None
        return internal if crash is Crash.AFTER else Answer(200, json.loads(json.dumps(found)))
