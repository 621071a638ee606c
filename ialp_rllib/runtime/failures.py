"""What Ray reports when it loses something, in one sentence."""

from __future__ import annotations

import re

import ray

from ialp_rllib.errors import IalpError

CONTINUE = "What was finished is kept: the same command continues from there."

_MEMORY = "close other programs, or let fewer jobs run side by side (runtime.cpus)"
_SENTENCES: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    (
        (ray.exceptions.OutOfMemoryError,),
        f"The machine ran out of memory, and Ray ended a process of this run: {_MEMORY}.",
    ),
    (
        (ray.exceptions.ObjectStoreFullError, ray.exceptions.PlasmaObjectNotAvailable),
        f"Ray's shared memory is full: {_MEMORY}, or enlarge /dev/shm (`ialp doctor` shows it).",
    ),
    (
        (ray.exceptions.OutOfDiskError,),
        "The disk of Ray's temporary folder is full: free some space there, or name another folder in RAY_TMPDIR.",
    ),
    (
        (ray.exceptions.NodeDiedError, ray.exceptions.LocalRayletDiedError),
        "A node of Ray was lost: killed, out of memory, or cut off from the network.",
    ),
    (
        (ray.exceptions.WorkerCrashedError,),
        f"A process of this run ended unexpectedly: killed, or out of memory. If it was memory: {_MEMORY}.",
    ),
    (
        (ray.exceptions.ActorUnavailableError,),
        "A process of this run cannot be reached: it is being restarted, or its node is cut off.",
    ),
    (
        (ray.exceptions.RayActorError, ray.exceptions.OwnerDiedError),
        "A process of this run that others depend on ended unexpectedly: killed, or out of memory. "
        f"If it was memory: {_MEMORY}.",
    ),
    ((ray.exceptions.ObjectLostError,), "A result was lost with the process or node that held it."),
    ((ray.exceptions.GetTimeoutError,), "Ray did not answer in time: the machine may be too busy."),
    (
        (ray.exceptions.AuthenticationError,),
        "Ray refused the token: RAY_AUTH_MODE and RAY_AUTH_TOKEN_PATH must be those of the cluster.",
    ),
    (
        (ray.exceptions.TaskUnschedulableError, ray.exceptions.ActorUnschedulableError),
        "No node of Ray has the CPUs and GPUs that were asked for (`ray status` lists them).",
    ),
    (
        (ray.exceptions.RuntimeEnvSetupError,),
        "Ray could not set up the environment of a process: a disk is full, or the job's working directory is gone.",
    ),
    (
        (ray.exceptions.RpcError, ray.exceptions.RaySystemError),
        "Ray lost its connection: one of its processes was ended, or the machine is too busy.",
    ),
)


def explain(error: Exception) -> BaseException:
    """The error to raise instead of one of Ray's.

    Returns:
        - an error of this package that was raised in a task or an actor: that error;
        - what Ray lost by itself (a worker, a node, memory): an :class:`IalpError` of one sentence;
        - any other exception of code that ran in a task, a plugin's for example: ``error`` itself, whose text is that
          code's own traceback, with a note that says so;
        - anything else: ``error`` itself.
    """
    cause: BaseException = error
    if isinstance(error, ray.exceptions.RayTaskError):
        cause = error.cause
        while isinstance(cause, ray.exceptions.RayTaskError):  # of a task that waited for another
            cause = cause.cause
        if isinstance(cause, IalpError):
            return cause
        if not isinstance(cause, ray.exceptions.RayError):
            if not getattr(error, "__notes__", None):
                error.add_note(_where(error))
            return error
    for kinds, sentence in _SENTENCES:
        if isinstance(cause, kinds):
            return IalpError(f"{sentence} {CONTINUE}{_reason(cause)}")
    return error


def _where(error: ray.exceptions.RayTaskError) -> str:
    named = re.search(r"ray::([\w.<>]+)\(", str(error))
    function = named[1] if named else "a function"
    return f"raised in {function}, which ran in another process: its own traceback starts above at `ray::`. {CONTINUE}"


def _reason(cause: BaseException) -> str:
    """The first line of what Ray says, for a search or a report."""
    lines = str(cause).strip().splitlines()
    return f"\n  Ray: {lines[0].strip()[:300]}" if lines else ""
