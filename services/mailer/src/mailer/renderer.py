"""Rendering in child processes: a template that takes over 2 s or 256 MB fails, and fails alone."""

import asyncio
import logging
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import msgspec

from contracts.errors import FieldError, Invalid, ServiceError, Unavailable
from mailer.domain.templates import PreparedTemplate

_log = logging.getLogger(__name__)

LIMIT_S = 2.0
_TOO_MUCH = "template rendering took over 2 s or 256 MB"
#: The loop may itself have been late: a reply that came meanwhile is read before a worker is killed.
_GRACE_S = 0.05
_BOOT_S = 30.0
_MOST_FAILED_STARTS = 3
_BATCH_ITEMS = 32
_BATCH_BYTES = 1024 * 1024
#: More than the worker could hold beside its rendering.
_VARIABLES_BYTES = 8 * 1024 * 1024
_MOST_WAITING = 10_000


class RenderRequest(msgspec.Struct, frozen=True):
    """A prepared template and the data for one mail. `template_key` names exactly this syntax, subject and body."""

    template_key: str
    syntax: str
    subject: str
    body: str
    variables: dict[str, Any]


class Rendered(msgspec.Struct, frozen=True):
    """The parts of one mail; `text` is made from `html`."""

    subject: str
    html: str
    text: str


class _Reply(msgspec.Struct, array_like=True):
    # Mirrors render_worker.Reply; that module is never imported here, for the sake of its limits and its Jinja.
    subject: str = ""
    html: str = ""
    text: str = ""
    missing: list[str] = []
    refusal: str = ""
    leaving: bool = False


class _Job:
    __slots__ = ("deaths", "done", "request", "variables")

    def __init__(self, request: RenderRequest, variables: bytes, done: asyncio.Future[Rendered]) -> None:
        self.request = request
        self.variables = variables
        self.done = done
        self.deaths = 0


def request_for(prepared: PreparedTemplate, variables: dict[str, Any]) -> RenderRequest:
    """What to ask of the renderer for one mail of this template."""
    return RenderRequest(prepared.version, prepared.syntax, prepared.subject, prepared.body, variables)


class Renderer:
    """Up to `workers` child processes, started when there is work and ended after `idle_s` without."""

    def __init__(self, *, workers: int = 2, idle_s: float = 60.0) -> None:
        self._waiting: deque[_Job] = deque()
        self._lanes = [_Lane(self._waiting, idle_s) for _ in range(workers)]
        self._open = False

    async def __aenter__(self) -> Self:
        self._open = True
        for lane in self._lanes:
            lane.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        for lane in self._lanes:
            await lane.stop()
        while self._waiting:
            _fail(self._waiting.popleft(), Unavailable("the renderer is stopping"))

    async def render(self, request: RenderRequest) -> Rendered:
        """The rendered mail.

        Raises Invalid naming every missing variable, or when the template fails, or takes over 2 s or 256 MB;
        Unavailable while the renderer is stopping or has too much to do.
        """
        return await self._submit(request)

    async def render_many(self, requests: Sequence[RenderRequest]) -> list[Rendered | ServiceError]:
        """One result per request, in order: the rendered mail, or the error that `render` would raise."""
        outcomes: list[Rendered | ServiceError | asyncio.Future[Rendered]] = []
        for request in requests:
            try:
                outcomes.append(self._submit(request))
            except ServiceError as error:
                outcomes.append(error)
        results: list[Rendered | ServiceError] = []
        for outcome in outcomes:
            if not isinstance(outcome, asyncio.Future):
                results.append(outcome)
                continue
            try:
                results.append(await outcome)
            except ServiceError as error:
                results.append(error)
        return results

    def _submit(self, request: RenderRequest) -> asyncio.Future[Rendered]:
        if not self._open or len(self._waiting) >= _MOST_WAITING:
            raise Unavailable("the renderer takes no more work", retry_after_s=1)
        try:
            variables = _ENCODER.encode(request.variables)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise Invalid(
                "the variables are not plain data", errors=[FieldError("variables", "are not plain data")]
            ) from error
        if len(variables) > _VARIABLES_BYTES:
            raise Invalid("the variables are too large", errors=[FieldError("variables", "are too large")])
        done: asyncio.Future[Rendered] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Job(request, variables, done))
        for lane in self._lanes:
            if lane.wake():
                break
        return done


class _Lane:
    """One worker process and the task that feeds it."""

    def __init__(self, waiting: deque[_Job], idle_s: float) -> None:
        self._waiting = waiting
        self._idle_s = idle_s
        self._woken = asyncio.Event()
        self._resting = False
        self._task: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._progress_at = 0.0
        self._overdue = False
        self._running: list[_Job] = []
        self._failed_starts = 0
        self._watching: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._serve(), name="mailer-render-lane")

    def wake(self) -> bool:
        """Whether this lane was at rest, and now is not."""
        if not self._resting or self._woken.is_set():
            return False
        self._woken.set()
        return True

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._end_process()
        for job in self._running:
            _fail(job, Unavailable("the renderer is stopping"))

    async def _serve(self) -> None:
        while True:
            if not self._waiting:
                await self._rest()
                continue
            self._running = self._take()
            try:
                await self._render(self._running)
            except OSError as error:
                self._not_started(error)
            else:
                self._failed_starts = 0
            self._running = []

    def _not_started(self, error: OSError) -> None:
        """A worker may be killed while it starts, as at any time; three in a row mean that none can start."""
        self._failed_starts += 1
        if self._failed_starts < _MOST_FAILED_STARTS:
            self._waiting.extendleft(reversed(self._running))
            return
        self._failed_starts = 0
        _log.warning("no render worker can be started: %s", error.strerror)
        for job in self._running:
            _fail(job, Unavailable("no render worker can be started", retry_after_s=5))

    async def _rest(self) -> None:
        self._resting = True
        try:
            async with asyncio.timeout(self._idle_s if self._process is not None else None):
                await self._woken.wait()
        except TimeoutError:
            await self._end_process()
        finally:
            self._resting = False
            self._woken.clear()

    def _take(self) -> list[_Job]:
        jobs: list[_Job] = []
        size = 0
        while self._waiting and len(jobs) < _BATCH_ITEMS and size < _BATCH_BYTES:
            # A mail that already saw a worker die renders alone, so that it cannot be confused with another.
            if jobs and (self._waiting[0].deaths or jobs[0].deaths):
                break
            job = self._waiting.popleft()
            if not job.done.done():
                jobs.append(job)
                size += len(job.variables) + len(job.request.body)
        return jobs

    async def _render(self, jobs: list[_Job]) -> None:
        if not jobs:
            return
        process = await self._worker()
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None
        assert stdout is not None
        loop = asyncio.get_running_loop()
        self._progress_at, self._overdue = loop.time(), False
        self._watching = loop.call_later(LIMIT_S, self._watch, process, None)
        answered, leaving = 0, False
        try:
            stdin.write(_frame(jobs))
            await stdin.drain()
            self._progress_at = loop.time()
            for job in jobs:
                reply = _DECODER.decode(await stdout.readexactly(int.from_bytes(await stdout.readexactly(4), "big")))
                self._progress_at = loop.time()
                answered, leaving = answered + 1, reply.leaving
                _settle(job, reply)
                if leaving:
                    break
        except (asyncio.IncompleteReadError, ConnectionError, msgspec.DecodeError):
            self._died(jobs, answered)
            await self._end_process()
        else:
            if leaving:
                self._waiting.extendleft(reversed(jobs[answered:]))
                await self._end_process()
        finally:
            self._watching.cancel()

    def _watch(self, process: asyncio.subprocess.Process, overdue_since: float | None) -> None:
        """Kill the worker when its item has run for the whole limit; look twice, see _GRACE_S."""
        loop = asyncio.get_running_loop()
        left_s = self._progress_at + LIMIT_S - loop.time()
        if left_s <= 0 and overdue_since == self._progress_at:
            self._overdue = True
            _kill(process)
            return
        if left_s <= 0:
            self._watching = loop.call_later(_GRACE_S, self._watch, process, self._progress_at)
        else:
            self._watching = loop.call_later(left_s, self._watch, process, None)

    def _died(self, jobs: list[_Job], answered: int) -> None:
        """Blame the one item that was running; the others go back to the front."""
        guilty, innocent = jobs[answered], jobs[answered + 1 :]
        guilty.deaths += 1
        self._waiting.extendleft(reversed(innocent))
        if self._overdue or guilty.deaths > 1:
            _log.warning("a template was stopped: over 2 s or 256 MB")
            _fail(guilty, Invalid(_TOO_MUCH, code="template_too_expensive"))
        else:
            # Something else may have killed the worker: once is no proof.
            self._waiting.appendleft(guilty)

    async def _worker(self) -> asyncio.subprocess.Process:
        if self._process is not None and self._process.returncode is None:
            return self._process
        await self._end_process()
        self._process = process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-s", "-B", "-m", "mailer.render_worker",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            # None of our secrets, and none of our settings.
            env={"LC_ALL": "C.UTF-8"}, limit=4 * 1024 * 1024,
        )  # fmt: skip
        assert process.stdout is not None
        try:
            async with asyncio.timeout(_BOOT_S):
                await process.stdout.readexactly(int.from_bytes(await process.stdout.readexactly(4), "big"))
        except (TimeoutError, asyncio.IncompleteReadError) as error:
            await self._end_process()
            raise OSError(0, "the render worker does not start") from error
        return process

    async def _end_process(self) -> None:
        process = self._process
        if process is None:
            return
        _kill(process)
        if process.stdin is not None:
            process.stdin.close()
        await process.wait()
        # Only now: when `stop` cancels this wait, it must find the process, and wait for it itself.
        self._process = None


def _kill(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()


def _frame(jobs: Sequence[_Job]) -> bytes:
    sources = {job.request.template_key: (job.request.syntax, job.request.subject, job.request.body) for job in jobs}
    items = [(job.request.template_key, msgspec.Raw(job.variables)) for job in jobs]
    frame = _ENCODER.encode((sources, items))
    return len(frame).to_bytes(4, "big") + frame


def _settle(job: _Job, reply: _Reply) -> None:
    if reply.missing:
        names = ", ".join(reply.missing)
        errors = [FieldError(f"variables.{name}", "is missing") for name in reply.missing]
        _fail(job, Invalid(f"missing variables: {names}", code="missing_variables", errors=errors))
    elif reply.refusal == "memory":
        _fail(job, Invalid(_TOO_MUCH, code="template_too_expensive"))
    elif reply.refusal:
        _fail(job, Invalid(reply.refusal, code="template_failed"))
    elif not job.done.done():
        job.done.set_result(Rendered(reply.subject, reply.html, reply.text))


def _fail(job: _Job, error: ServiceError) -> None:
    if not job.done.done():
        job.done.set_exception(error)
        # A caller that was cancelled will not look; that is no reason for asyncio to complain.
        job.done.exception()


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_Reply)
