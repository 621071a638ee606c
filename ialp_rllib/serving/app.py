"""The service's HTTP interface (FastAPI); nothing but glue around :class:`.service.Service`.

``POST /v1/recommend``, ``POST /v1/feedback``, ``GET /v1/health``, ``GET /v1/policy``, and the page of the service at
``/``. The OpenAPI description is at ``/openapi.json``. Errors: 401 without the token, 404 for feedback on a decision
that was not made here, 413 for a body that is too large, 422 for a body that is no JSON and for values out of range,
503 where nothing can be served.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import logging
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

import ialp_rllib
from ialp_rllib.errors import IalpError, InputError
from ialp_rllib.serving.batching import Batcher
from ialp_rllib.serving.folder import PAGE, ServiceFolder
from ialp_rllib.serving.service import Ask, Feedback, Service, UnknownDecision

log = logging.getLogger(__name__)

Id = Annotated[str, Field(max_length=200)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class FeedbackRequest(_Strict):
    """A user's answer. The first one for a decision counts."""

    decision: Annotated[str, Field(max_length=10_000, description="The `decision` of an answer; it names its items.")]
    reward: float = Field(allow_inf_nan=False)
    ended: Literal["", "left", "limit"] = Field("", description="How the session ended with it; empty: it goes on.")
    item: Id = Field("", description="The item of a slate that it is for.")


class RecommendRequest(_Strict):
    """All that the service knows of a session comes with the request: any replica can answer it."""

    session: Annotated[str, Field(min_length=1, max_length=200, description="Id of the session.")]
    items: list[Id] = Field([], description="Ids of all items shown in the session so far, the oldest first.")
    k: int = Field(1, ge=1, description="Number of items to recommend, without repetition.")
    user: Id = Field("", description="Id of the user, for a policy that knows users.")
    answers: list[int] = Field([], description="Levels of the answers to `items`, for a policy that knows them.")
    request: Id = Field("", description="Id of the request, for the log.")
    feedback: list[FeedbackRequest] = Field(
        [], max_length=100, description="Answers to earlier decisions, stored as by `/v1/feedback`: saves a request."
    )


class RecommendAnswer(BaseModel):
    """What to show."""

    decision: str = Field(description="Id to give feedback on.")
    items: list[str]
    probabilities: list[float] = Field(
        description="Propensity of each item, given those before it and, with alpha.by=session, the policy that was "
        "drawn with the session."
    )
    version: int = Field(description="Version of the policy that decided; 0: the frozen one alone.")


class Stored(BaseModel):
    """The feedback is on the disk."""

    stored: bool


class Problem(BaseModel):
    """What is wrong with a request."""

    detail: str


_PROBLEMS: dict[int | str, dict[str, Any]] = {
    code: {"model": Problem, "description": text}
    for code, text in {
        401: "The bearer token is missing or wrong.",
        404: "The decision was not made by this service.",
        413: "The body is too large.",
        422: "The body is no JSON, or a value is missing, of another type, or out of range.",
        503: "Nothing can be served or stored now.",
    }.items()
}


def build_app(folder: ServiceFolder, service: Service | IalpError) -> FastAPI:
    """The application.

    Args:
        folder: of the service.
        service: what answers; an error: why nothing can (503).
    """

    def ready() -> Service:
        if isinstance(service, IalpError):
            raise service
        return service

    def store(rows: list[Feedback]) -> list[bool]:
        ready().store(rows)
        return [True] * len(rows)

    def checked(given: FeedbackRequest) -> Feedback:
        row = Feedback(given.decision, given.reward, given.ended, given.item)
        ready().check_feedback(row)
        return row

    http = folder.settings.http
    # Two logs, two threads: neither waits until the other's is on the disk.
    decide_one = Batcher(lambda asks: ready().decide(asks), http.batch, http.wait)
    store_one = Batcher(store, http.batch, http.wait)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        watching = asyncio.create_task(_watch(service, folder.settings.poll))
        yield
        watching.cancel()
        decide_one.close()
        store_one.close()

    token = folder.token()
    app = FastAPI(
        title="ialp_rllib service",
        version=ialp_rllib.__version__,
        description="Recommendations with logged propensities, and the feedback that they are learnt from.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        dependencies=[Depends(HTTPBearer(auto_error=False))] if token else [],
        responses=_PROBLEMS,
    )
    app.add_middleware(_Door, token=token, most=http.body_kb * 1000)
    _explain_errors(app)

    @app.post("/v1/recommend", response_model=RecommendAnswer)
    async def recommend(asked: RecommendRequest) -> Response:
        """Items to show now. Retrying is safe: what was decided and never shown is not learnt from, and of feedback
        the first one counts. Feedback that is refused (404, 422) refuses the whole request."""
        ask = Ask(asked.session, asked.items, asked.request, asked.user, asked.answers, asked.k)
        ready().check(ask)
        given = [checked(row) for row in asked.feedback]  # all, before anything is stored
        answer, *_ = await asyncio.gather(decide_one(ask), *map(store_one, given))
        if answer is None:
            raise InputError("items", "leave no item that may be shown", "a session with fewer items")
        return _json(answer._asdict())

    @app.post("/v1/feedback", response_model=Stored)
    async def feedback(given: FeedbackRequest) -> Response:
        """A user's answer. Retrying is safe: the first one counts."""
        return _json({"stored": await store_one(checked(given))})

    @app.get("/v1/health")
    async def health() -> dict[str, Any]:
        """Whether the service can answer; 503 where it cannot."""
        return ready().health()

    @app.get("/v1/policy")
    async def policy() -> dict[str, Any]:
        """What is served."""
        current, artifact = ready().watcher.current, folder.artifact
        known = {"method": artifact.method, "items": len(artifact.item_ids), "history": artifact.network.history}
        return {**known, "promoted": current.promoted, "canary": current.canary, "reason": current.reason}

    @app.get("/", response_class=Response, include_in_schema=False)
    async def page() -> Response:
        path = folder.root / PAGE
        return (
            FileResponse(path, media_type="text/html") if path.is_file() else JSONResponse({"detail": "no page"}, 404)
        )

    return app


async def _watch(service: Service | IalpError, seconds: float) -> None:
    """Follow the published versions."""
    while isinstance(service, Service):
        await asyncio.sleep(seconds)
        try:
            await asyncio.to_thread(service.watcher.refresh)
        except Exception:
            log.exception("could not look for a new version")


def _explain_errors(app: FastAPI) -> None:
    """Errors as JSON, without what the caller sent: it may be of any size, and may not be text."""

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if part != "body")
        return _problem(f"{place[:100]}: {first['msg'][:200]}", 422)

    @app.exception_handler(HTTPException)
    async def no_json(request: Request, error: HTTPException) -> JSONResponse:
        # FastAPI's answer to a body that is no text, or nested too deeply; other broken JSON is a validation error
        return _problem("is no JSON", 422) if error.status_code == 400 else _problem(error.detail, error.status_code)

    @app.exception_handler(IalpError)
    async def refused(request: Request, error: IalpError) -> JSONResponse:
        if isinstance(error, UnknownDecision):
            return _problem(str(error), 404)
        asked = isinstance(error, InputError) and error.where in ("items", "k", "answers", "user", "reward", "item")
        return _problem(str(error) if asked else f"not available: {error}", 422 if asked else 503)


def _json(data: dict[str, Any]) -> Response:
    """An answer that was made here: validating it once more would cost as much as the rest of the request."""
    return Response(json.dumps(data, separators=(",", ":")), media_type="application/json")


def _problem(text: str, code: int) -> JSONResponse:
    return JSONResponse({"detail": text.encode("utf-8", "replace").decode()}, code)


class _Door:
    """Refuses requests without the token, and bodies that are too large, before anything reads them (ASGI)."""

    def __init__(self, app: Any, token: str, most: int) -> None:
        self._app, self._token, self._most = app, token.encode(), most

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        if self._token:
            kind, _, given = headers.get(b"authorization", b"").partition(b" ")
            if kind.lower() != b"bearer" or not hmac.compare_digest(given.strip(), self._token):
                await _problem("the bearer token is missing or wrong", 401)(scope, receive, send)
                return
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return
            body, more = body + message.get("body", b""), message.get("more_body", False)
            if len(body) > self._most:
                await _problem(f"the body has more than {self._most:,} bytes", 413)(scope, receive, send)
                return
        read = False

        async def whole() -> Any:
            nonlocal read
            if read:
                return await receive()
            read = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, whole, send)
