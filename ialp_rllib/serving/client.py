"""A client of the service in a few lines: what a team copies into its own program. Needs the standard library alone."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from typing import Any


class Client:
    """Asks for items and gives feedback; a request that fails is made again.

    Args:
        url: of the service, ``http://127.0.0.1:8000``.
        token: bearer token; empty: none.
        retries: further tries of a request. Both requests may be repeated: see :mod:`.join`.
    """

    def __init__(self, url: str, token: str = "", retries: int = 3) -> None:
        self.url, self.retries = url.rstrip("/"), retries
        self.headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request.

        Raises:
            urllib.error.HTTPError: it was refused (4xx), or failed at every try.
            OSError: the service cannot be reached, or its answers end in the middle: a replica died.
        """
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), self.headers)
        for left in range(self.retries, -1, -1):
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    found: dict[str, Any] = json.load(answer)
                    return found
            except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: half an answer
                refused = isinstance(error, urllib.error.HTTPError) and error.code < 500
                if refused or not left:
                    if isinstance(error, OSError):
                        raise
                    raise ConnectionError(f"{path}: no whole answer ({error!r})") from error
                time.sleep(0.1 * 2 ** (self.retries - left))
        raise AssertionError("the last try returns or raises")

    def recommend(self, session: str, items: list[str], **more: Any) -> dict[str, Any]:
        """``decision``, ``items``, ``probabilities`` and ``version``.

        Args:
            session: id of the session.
            items: ids of all items shown in it so far, the oldest first.
            more: other fields of the request: ``k``, ``user``, ``answers``, ``request``, and ``feedback``, a list of
                what :meth:`feedback` would send, to save a request.
        """
        return self.post("/v1/recommend", {"session": session, "items": items, **more})

    def feedback(self, decision: str, reward: float, ended: str = "", **more: Any) -> None:
        """Tell what the user answered, and whether the session ended with it (``left``, ``limit``)."""
        self.post("/v1/feedback", {"decision": decision, "reward": reward, "ended": ended, **more})
