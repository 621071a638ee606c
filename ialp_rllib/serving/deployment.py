"""The service on Ray: replicas behind Ray Serve's proxy, and the learner as one actor that Ray restarts."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray import serve

from ialp_rllib.errors import IalpError
from ialp_rllib.serving.folder import ServiceFolder, open_service
from ialp_rllib.serving.learner import LearnerActor
from ialp_rllib.settings.serving import ServingSettings

APPLICATION, NAMESPACE = "ialp", "ialp-serving"
READY_SECONDS = 300.0
"""How long the replicas may take to start."""


def application(arguments: dict[str, Any]) -> serve.Application:
    """The application of a service, as Ray Serve's configurations name it (``import_path``).

    Args:
        arguments: ``service``: the folder that ``ialp serve --prepare`` made. Starts the learner, too.
    """
    folder = open_service(arguments["service"])
    start_learner(folder.root)
    return _application(folder)


def _application(folder: ServiceFolder) -> serve.Application:
    http, root = folder.settings.http, str(folder.root)

    def replica() -> Any:  # evaluated in each replica
        return _replica(root)

    options: dict[str, Any] = {
        "name": "replica",
        "num_replicas": http.replicas,
        "max_ongoing_requests": max(8 * http.batch, 512),
        "health_check_period_s": 2.0,
        "health_check_timeout_s": 30.0,
        "graceful_shutdown_timeout_s": 5.0,
        "ray_actor_options": {"num_cpus": 0.1},  # replicas share the cores with the learner
    }
    return serve.deployment(**options)(serve.ingress(replica)()).bind()


def _replica(root: str) -> Any:
    """The ASGI application of one replica."""
    import torch

    from ialp_rllib.serving.app import build_app
    from ialp_rllib.serving.service import Service

    torch.set_num_threads(1)
    folder = open_service(root)
    try:
        service: Service | IalpError = Service(folder)
    except IalpError as error:
        logging.getLogger(__name__).error("nothing can be served: %s", error)
        service = error
    return build_app(folder, service, batched(folder.settings))


def batched(settings: ServingSettings) -> Callable[..., Any]:
    """``serve.batch`` with the settings of a service."""
    http = settings.http
    decorate: Callable[..., Any] = serve.batch(max_batch_size=http.batch, batch_wait_timeout_s=http.wait)
    return decorate


def start_learner(root: Path) -> Any:
    """The learner's actor of a service; the one that runs already, if any."""
    name = f"learner-{hashlib.sha256(str(root).encode()).hexdigest()[:12]}"
    options: dict[str, Any] = {
        "name": name,
        "namespace": NAMESPACE,
        "lifetime": "detached",
        "get_if_exists": True,
        "max_restarts": -1,
        "max_concurrency": 4,
        "num_cpus": 0.1,
    }
    return ray.remote(LearnerActor).options(**options).remote(str(root))


def start(folder: ServiceFolder) -> Any:
    """Start proxy, replicas and learner on the Ray that runs; returns when requests are answered.

    Returns:
        The learner's actor; with ``learn=false`` it joins, seals and guards alone.

    Raises:
        IalpError: the replicas did not start.
    """
    http = folder.settings.http
    serve.start(http_options={"host": http.host, "port": http.port})
    try:
        serve.run(_application(folder), name=APPLICATION, route_prefix="/", blocking=False)
    except RuntimeError as error:
        raise IalpError(f"the service did not start: {' '.join(str(error).split())[:400]}") from error
    deadline = time.monotonic() + READY_SECONDS
    while serve.status().applications[APPLICATION].status != "RUNNING":
        if time.monotonic() > deadline:
            raise IalpError(f"the replicas did not start within {READY_SECONDS:.0f} s: see the logs of Ray Serve")
        time.sleep(0.2)
    return start_learner(folder.root)


def stop(learner: Any) -> None:
    """Let the learner write its checkpoint, and end the service."""
    if learner is not None:
        with contextlib.suppress(ray.exceptions.RayError):
            ray.get(learner.stop.remote(), timeout=120)
        with contextlib.suppress(ray.exceptions.RayError, ValueError):
            ray.kill(learner)
    serve.shutdown()
