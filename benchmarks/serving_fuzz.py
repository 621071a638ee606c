"""Does the service answer whatever fits its OpenAPI description, and whatever does not, without a 5xx answer?

    pip install schemathesis        # 4.32; not among the requirements: it brings sixteen packages
    python benchmarks/serving_fuzz.py --requests 5000

Schemathesis makes requests from the description of the app that a real server gives, half of them valid and half of
them not; every second feedback, also where it comes with a request for items, names a decision that was really made.
Every answer must have a documented status, type of content and schema. Afterwards the log must hold the decisions and
the feedback that were acknowledged, and nothing else. The policy has random weights; the app runs in this process, over
loopback, without Ray. Exit code 1 if anything is wrong; each kind of fault is printed once.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import requests
import torch
import uvicorn
from hypothesis import HealthCheck, given, seed, settings
from serving_load import random_policy

from ialp_rllib.serving.app import build_app
from ialp_rllib.serving.artifact import read_artifact
from ialp_rllib.serving.folder import ServiceFolder, create_service
from ialp_rllib.serving.log import Tail
from ialp_rllib.serving.service import Service

try:
    import schemathesis
    from schemathesis.core.failures import FailureGroup
    from schemathesis.specs.openapi import checks
except ModuleNotFoundError:
    sys.exit("this benchmark needs: pip install schemathesis")

SHARES = {"/v1/recommend": 0.45, "/v1/feedback": 0.45, "/v1/health": 0.05, "/v1/policy": 0.05}
CHECKS = [checks.status_code_conformance, checks.content_type_conformance, checks.response_schema_conformance]


def serve(folder: ServiceFolder) -> tuple[uvicorn.Server, str]:
    """The app on a free port of this machine, in a thread."""
    server = uvicorn.Server(uvicorn.Config(build_app(folder, Service(folder, seed=0)), log_level="error"))
    listening = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=server.run, args=([listening],), daemon=True).start()
    while not server.started:
        time.sleep(0.1)
    return server, f"http://127.0.0.1:{listening.getsockname()[1]}"


class Fuzz:
    """Requests, what became of them, and what was wrong with the answers."""

    def __init__(self, url: str) -> None:
        self.schema, self._session = schemathesis.openapi.from_url(f"{url}/openapi.json"), requests.Session()
        self.codes: Counter[str] = Counter()
        self.faults: dict[str, str] = {}
        self.decided: list[str] = []
        self.stored = 0

    def ask(self, case: Any) -> None:
        """Send one request, and check its answer."""
        if self.decided and sum(self.codes.values()) % 2 and isinstance(case.body, dict):
            case.body = self._real(case.path, case.body)
        answer = case.call(session=self._session)
        self.codes[f"{case.path} {answer.status_code}"] += 1
        if answer.status_code >= 500:
            self.faults.setdefault(f"{case.path} {answer.status_code}", f"{case.body!r:.300} -> {answer.text:.300}")
        try:
            case.validate_response(answer, checks=CHECKS)
        except FailureGroup as group:
            for failure in group.exceptions:
                self.faults.setdefault(f"{case.path} {failure.title}", f"{case.body!r:.300} -> {failure!s:.300}")
        if answer.status_code == 200 and case.path == "/v1/recommend":
            self.decided.append(json.loads(answer.content)["decision"])
        if answer.status_code == 200 and case.path == "/v1/feedback":
            self.stored += 1
        elif answer.status_code == 200 and case.path == "/v1/recommend":
            self.stored += len(case.body.get("feedback", []))

    def _real(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The request with a decision that was really made, where it gives feedback."""
        known = {"decision": self.decided[-1]}
        if path == "/v1/feedback":
            return {**body, **known}
        given = body.get("feedback")
        if not isinstance(given, list):
            return body
        return {**body, "feedback": [{**row, **known} if isinstance(row, dict) else row for row in given]}

    def run(self, path: str, mode: str, count: int) -> None:
        """``count`` requests to one path."""
        operation = self.schema[path]["POST" if path in ("/v1/recommend", "/v1/feedback") else "GET"]
        strategy = operation.as_strategy(generation_mode=schemathesis.GenerationMode(mode))
        before = sum(self.codes.values())
        # several rounds: a run of Hypothesis may end early, where it has seen what it can vary
        for number in range(5):
            left = count - (sum(self.codes.values()) - before)
            if left > 0:
                self._round(strategy, left, number)

    def _round(self, strategy: Any, count: int, number: int) -> None:
        @seed(number)
        @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(strategy)
        def fuzz(case: Any) -> None:
            self.ask(case)

        fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=5000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        random_policy(Path(temporary) / "policy", 12)
        folder = create_service(Path(temporary) / "service", read_artifact(Path(temporary) / "policy"))
        server, url = serve(folder)
        fuzz = Fuzz(url)
        for path, share in SHARES.items():
            for mode in ("positive", "negative"):
                if mode == "positive" or share > 0.1:
                    fuzz.run(path, mode, round(args.requests * share / (2 if share > 0.1 else 1)))
        server.should_exit = True
        logged = [row["id"] for row in Tail(folder.decisions).read(10**9)]
        given_back = len(Tail(folder.feedback).read(10**9))
    print(f"{sum(fuzz.codes.values())} requests: {dict(sorted(fuzz.codes.items()))}")
    print(f"decisions: {len(fuzz.decided)} acknowledged, {len(logged)} logged; ", end="")
    print(f"feedback: {fuzz.stored} acknowledged, {given_back} logged")
    if sorted(logged) != sorted(fuzz.decided) or given_back != fuzz.stored:
        fuzz.faults["the log"] = "holds something else than what was acknowledged"
    for kind, example in fuzz.faults.items():
        print(f"WRONG: {kind}: {example}")
    return 1 if fuzz.faults else 0


if __name__ == "__main__":
    sys.exit(main())
