"""The service on Ray: replicas that Ray Serve keeps alive, and the learner as one actor that Ray restarts.

On one machine the replicas accept connections themselves, on the listening socket of the command (:mod:`.door`). On a
cluster, or with ``http.proxy``, Ray Serve's proxies take the requests and pass them on.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import threading
import time
from pathlib import Path
from typing import Any

import ray
from ray import serve

from ialp_rllib.errors import IalpError, InputError
from ialp_rllib.serving.actor import LearnerActor, Page
from ialp_rllib.serving.door import Door, receive
from ialp_rllib.serving.folder import ServiceFolder, open_service

APPLICATION, NAMESPACE = "ialp", "ialp-serving"
READY_SECONDS = 300.0
"""How long the replicas, and the learner, may take to start; a learner also waits for one that was killed."""
KEEP_ALIVE_SECONDS = 65
"""How long an idle connection stays open: longer than those of the usual load balancers, which then close first."""


def application(arguments: dict[str, Any], page: Page | None = None) -> serve.Application:
    """The application of a service that Ray Serve's proxies stand before; starts the learner, too.

    Args:
        arguments: ``service``: the folder that ``ialp serve --prepare`` made.
        page: writes the page of the service.

    Raises:
        InputError: the service asks for no token, but proxies listen on the network; or the learner cannot start.
    """
    folder = open_service(arguments["service"])
    if not folder.token():
        problem = "is not set, but what is deployed this way can be reached from other machines"
        expected = "--set http.token_file=FILE of `ialp serve --prepare`, and the file on each node"
        raise InputError("http.token_file", problem, expected)
    start_learner(folder.root, page)
    return _application(folder)


def _application(folder: ServiceFolder, door: str = "") -> serve.Application:
    """``door``: address of the listening socket; empty: Ray Serve's proxies have it."""
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
    if door:
        return serve.deployment(**options)(ListeningReplica).bind(root, door)
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
    return build_app(folder, service)


class ListeningReplica:
    """A replica that accepts connections itself, in an event loop of its own.

    Args:
        root: folder of the service.
        door: where the listening socket is handed out.
    """

    _thread: threading.Thread | None = None

    def __init__(self, root: str, door: str) -> None:
        import uvicorn

        config = uvicorn.Config(
            _replica(root),
            log_config=None,
            access_log=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=2,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([receive(door)],), name="ialp-http", daemon=True)
        self._thread.start()

    def check_health(self) -> None:
        """Ray Serve asks; a replica that raises is replaced."""
        if self._thread is None or not self._thread.is_alive():
            raise RuntimeError("this replica no longer accepts connections")

    def __del__(self) -> None:  # when Ray Serve ends it
        if self._thread is not None:
            self._server.should_exit = True
            self._thread.join(5)


def start_learner(root: Path, page: Page | None = None) -> Any:
    """The learner's actor of a service; the one that runs already, if any.

    Args:
        root: folder of the service.
        page: writes its page, where nobody else does.

    Raises:
        InputError: it cannot start: its checkpoint, or the policy, is damaged, or another one works in the folder.
        IalpError: it does not answer.
    """
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
    learner = ray.remote(LearnerActor).options(**options).remote(str(root), page)
    try:
        problem: IalpError | None = ray.get(learner.problem.remote(), timeout=READY_SECONDS)
    except ray.exceptions.RayError as error:
        problem = IalpError(f"the learner did not start: {' '.join(str(error).split())[:400]}")
    if problem is not None:
        ray.kill(learner)
        raise problem
    return learner


def start(folder: ServiceFolder) -> tuple[Any, Door | None]:
    """Start replicas and learner on the Ray that runs; returns when requests are answered.

    Returns:
        The learner's actor; with ``learn=false`` it joins, seals and guards alone. And the door, if there is no proxy.

    Raises:
        InputError: the port is taken, or the learner cannot start.
        IalpError: the replicas, or the learner, did not start.
    """
    http = folder.settings.http
    door = None if http.proxy else Door(http.host, http.port)
    try:
        _start_replicas(folder, door)
        return start_learner(folder.root), door
    except BaseException:
        if door is not None:
            door.close()
        raise


def _start_replicas(folder: ServiceFolder, door: Door | None) -> None:
    """Start the replicas, and without a door the proxy; returns when requests are answered."""
    http = folder.settings.http
    if door is None:
        serve.start(http_options={"host": http.host, "port": http.port})
    else:
        serve.start(proxy_location="Disabled")
    prefix = "/" if door is None else None
    application = _application(folder, door.address if door is not None else "")
    # serve.run() asks for proxies of its own options once more, and warns that Ray Serve has others
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    try:
        serve.run(application, name=APPLICATION, route_prefix=prefix, blocking=False)
    except RuntimeError as error:
        raise IalpError(f"the service did not start: {' '.join(str(error).split())[:400]}") from error
    deadline = time.monotonic() + READY_SECONDS
    while serve.status().applications[APPLICATION].status != "RUNNING":
        if time.monotonic() > deadline:
            raise IalpError(f"the replicas did not start within {READY_SECONDS:.0f} s: see the logs of Ray Serve")
        time.sleep(0.2)


def stop(learner: Any, door: Door | None) -> None:
    """Let the learner write its checkpoint, and end the service."""
    if learner is not None:
        with contextlib.suppress(ray.exceptions.RayError):
            ray.get(learner.stop.remote(), timeout=120)
        with contextlib.suppress(ray.exceptions.RayError, ValueError):
            ray.kill(learner)
    serve.shutdown()
    if door is not None:
        door.close()
