"""Starting and stopping Ray, and services: objects in a process of their own."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

import ray
from packaging.version import Version

from ialp_rllib.runtime.failures import explain
from ialp_rllib.runtime.starting import forget_token, join, start_here
from ialp_rllib.settings import RuntimeSettings

log = logging.getLogger(__name__)

DIED = ray.exceptions.RayActorError  # raised by get() for a call to a service whose process died
RESTARTING = ray.exceptions.ActorUnavailableError  # its subclass for a service that is being restarted
HAS_LOCAL_MODE = Version(ray.__version__) < Version("2.55")  # Ray 2.55 removed ray.init(local_mode=True)
_growth = 0.0  # seconds that the cluster may take to grow: runtime.autoscaler_wait of the latest start()
_in_process = False  # True: services and jobs are plain calls in this process, without any Ray actor or task


def start(settings: RuntimeSettings) -> None:
    """Start Ray, or join a cluster. Does nothing if Ray is already initialised in this process.

    Raises:
        InputError: the cluster at ``settings.address`` (or ``RAY_ADDRESS``) cannot be reached, or refuses the token.
        IalpError: Ray does not start on this machine.
    """
    global _growth
    _growth = settings.autoscaler_wait
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray must not hide the GPU from CPU-only tasks
    if settings.local_mode:
        _start_for_debugger()
        return
    address = settings.address or os.environ.get("RAY_ADDRESS", "")
    if address and address != "local":
        join(address)
    else:
        start_here(num_cpus=settings.cpus or None, log_to_driver=False)


def _start_for_debugger() -> None:
    """Run everything in the driver, so that a breakpoint anywhere opens in the terminal."""
    global _in_process
    if HAS_LOCAL_MODE:
        start_here(local_mode=True)
    else:
        log.warning(
            "Ray %s has no local mode (removed in 2.55): running in this process without Ray actors or tasks.",
            ray.__version__,
        )
        start_here(num_cpus=1, log_to_driver=False)  # RLlib needs an object store; nothing is put into it
        _in_process = True
    # Ray points breakpoint() at its own remote debugger, under which it silently does nothing.
    os.environ["PYTHONBREAKPOINT"] = "pdb.set_trace"


def stop() -> None:
    """Disconnect from Ray, and shut it down if :func:`start` started it."""
    global _in_process
    _in_process = False
    ray.shutdown()
    forget_token()


def of_nodes(name: str) -> list[float]:
    """A resource of each living node. Where nobody has started Ray it is started here, as a first task would."""
    if not ray.is_initialized():
        start(RuntimeSettings())
    return [node["Resources"].get(name, 0.0) for node in ray.nodes() if node["Alive"]]


def growth() -> float:
    """Seconds that the cluster may take to grow; 0: it does not."""
    return _growth


def local() -> bool:
    """Whether everything runs in this process."""
    if _in_process:
        return True
    return HAS_LOCAL_MODE and ray.is_initialized() and ray._private.worker.global_worker.mode == ray.LOCAL_MODE


def without_ray() -> bool:
    """Whether everything runs in this process although this Ray has no local mode."""
    return _in_process


_services: dict[int, Any] = {}  # the services of this process, by id


def _find_service(key: int) -> Any:
    return _services[key]


class _Done:
    """The result of a call in this process, used instead of an object reference."""

    __slots__ = ("error", "value")

    def __init__(self, value: Any, error: Exception | None = None) -> None:
        self.value, self.error = value, error


class _Method:
    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def remote(self, *args: Any, **kwargs: Any) -> _Done:
        try:
            return _Done(self._function(*args, **kwargs))
        except Exception as error:  # raised when the result is fetched, as Ray does
            return _Done(None, error)


class _Service:
    """A plain object with the interface of an actor handle: ``service.method.remote(...)``.

    Like an actor handle it is pickled by reference: Ray pickles environment creators, and a model in them must not be
    copied (and cannot be).
    """

    def __init__(self, target: Any) -> None:
        self._target = target
        _services[id(self)] = self

    def __reduce__(self) -> tuple[Any, ...]:
        return _find_service, (id(self),)

    def __getattr__(self, name: str) -> _Method:
        return _Method(getattr(self._target, name))


def service(
    cls: type,
    *args: Any,
    cpus: float = 1,
    gpus: float = 0.0,
    env: Mapping[str, str] | None = None,
    restarts: bool = False,
    threads: int = 1,
    **kwargs: Any,
) -> Any:
    """A long-lived object in a process of its own: a Ray actor, or a plain object when debugging.

    Args:
        cls: a plain class (local mode cannot run async actors).
        cpus, gpus: resources to reserve; CPUs are capped at those of the largest node, so that it can be scheduled.
        env: environment variables to set before its libraries are imported.
        restarts: whether Ray restarts it when its process dies. Calls in progress are lost (:data:`DIED`).
        threads: number of calls that run concurrently.

    Returns:
        A handle; :func:`get` resolves what ``handle.method.remote(...)`` returns.
    """
    env = dict(env or {})
    if local():
        os.environ.update(env)  # local mode ignores runtime_env
    if _in_process:
        return _Service(cls(*args, **kwargs))
    most = (
        max(of_nodes("CPU"), default=0) or 1
    )  # a head without CPUs, whose workers are yet to come: what asks for none would run there
    options: dict[str, Any] = {"num_cpus": min(cpus, most), "num_gpus": gpus}
    if not local():
        options |= {"runtime_env": {"env_vars": env}, "max_restarts": -1 if restarts else 0}
        options["max_concurrency"] = threads
    return ray.remote(cls).options(**options).remote(*args, **kwargs)


def end(handle: Any) -> None:
    """Stop a service and free its resources."""
    _services.pop(id(handle), None)
    if not _in_process and not local():
        ray.kill(handle)


def restart(handle: Any) -> None:
    """Kill a service that was started with ``restarts``; Ray restarts it. No-op without a process of its own."""
    if not local():
        ray.kill(handle, no_restart=False)


def ready(references: list[Any], seconds: float) -> list[Any]:
    """The references whose results are available: at least one, unless ``seconds`` have passed."""
    finished = [r for r in references if isinstance(r, _Done)]
    return finished or ray.wait(references, num_returns=1, timeout=seconds)[0]


def get(references: Any) -> Any:
    """The results of service calls: one, or a list. Errors of the calls are raised here.

    Raises:
        IalpError: Ray lost what was asked for, in one sentence (:func:`.explain`).
        RayActorError: a service died (:data:`DIED`) or restarts (:data:`RESTARTING`), for who can ask another.
    """
    if isinstance(references, list | tuple):
        return [get(r) for r in references]
    if isinstance(references, _Done):
        if references.error is not None:
            raise references.error
        return references.value
    try:
        return ray.get(references)
    except ray.exceptions.RayError as error:
        if isinstance(error, DIED) and not isinstance(error, ray.exceptions.RayTaskError):
            raise
        raise explain(error) from error
