"""Starting Ray on this machine, with a token and on the loopback address, and joining a cluster."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
import time
from collections.abc import Iterator
from typing import Any

import psutil
import ray
from ray._private import ray_constants

from ialp_rllib.errors import IalpError, InputError
from ialp_rllib.runtime.failures import CONTINUE

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
CONNECT_SECONDS = 60.0
"""How long a cluster may take to accept a connection; Ray itself would try for a quarter of an hour."""

COMMAND_LINE_SECONDS = 2.0

# Ray's own time limits are made for an idle machine: its raylet gives the agents 15 s, and a new worker 60 s.
_PATIENCE = {
    "RAY_agent_register_timeout_ms": "120000",
    "RAY_worker_register_timeout_seconds": "300",
}
_TOKEN = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")
_before: dict[str, str | None] = {}  # the environment before start_here() changed it


def start_here(**options: Any) -> None:
    """Start Ray on this machine, for this process and the processes that it starts.

    Everyone who reaches one of Ray's ports can run code as this user. They therefore listen on the loopback address,
    and ask for a token that is made here and that only this process and its children know. If ``RAY_AUTH_MODE`` is set,
    the user's choice is left as it is. Ray is given a second try: on a busy machine it misses time limits of its own.

    Args:
        options: of ``ray.init``.

    Raises:
        IalpError: Ray did not start, twice.
    """
    _prepare_environment()
    options = {"include_dashboard": False, "logging_level": logging.WARNING, **options}
    try:
        try:
            _init(options)
        except Exception as error:  # Ray raises bare Exceptions
            log.warning("Ray did not start (%s): trying once more.", _first_line(error))
            _init(options)
    except Exception as error:
        forget_token()
        raise IalpError(
            f"Ray did not start on this machine, twice ({_first_line(error)}): it is too busy, or short of memory or "
            f"disk (`ialp doctor`). {CONTINUE}"
        ) from error
    except BaseException:
        forget_token()
        raise


def join(address: str) -> None:
    """Join a cluster, with the user's own token (``RAY_AUTH_MODE``).

    Raises:
        InputError: it cannot be reached, or refuses the token.
    """
    where = f"Ray cluster {address!r}"
    _check_answers(address, where)
    try:
        # What workers log would run into the lines of progress. It is in Ray's logs; warnings come with the results.
        ray.init(address=address, logging_level=logging.WARNING, log_to_driver=False)
    except ray.exceptions.AuthenticationError as error:
        expected = "RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH with the cluster's token"
        raise InputError(where, "asks for a token that it was not given", expected) from error
    except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        problem = f"cannot be reached ({_first_line(error)})"
        raise InputError(where, problem, "a running cluster, or RAY_ADDRESS unset") from error


def forget_token() -> None:
    """Undo what :func:`start_here` did to the environment; a second call does nothing."""
    for name, value in _before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    if not _before.keys().isdisjoint(_TOKEN):
        _reread_token()
    _before.clear()


def _prepare_environment() -> None:
    """A token and patience for the Ray that is started next, in variables that its processes inherit."""
    changes = {name: value for name, value in _PATIENCE.items() if name not in os.environ}
    if "RAY_AUTH_MODE" not in os.environ:
        changes |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    for name, value in changes.items():
        _before.setdefault(name, os.environ.get(name))
        os.environ[name] = value
    if "RAY_AUTH_TOKEN" in changes:
        _reread_token()


def _reread_token() -> None:
    """Ray reads these variables once per process: at the first start, or where ``ray`` is imported."""
    loader, config = (getattr(ray._raylet, name, None) for name in ("AuthenticationTokenLoader", "Config"))
    if loader is None or config is None:  # another version of Ray
        log.warning("Ray %s: the token of this session cannot be changed.", ray.__version__)
        return
    config.initialize("")
    loader.instance().reset_cache()


def _init(options: dict[str, Any]) -> None:
    """``ray.init``; the processes of an attempt that failed are ended, since Ray leaves them running."""
    parent = psutil.Process()
    before = {child.pid for child in parent.children()}
    try:
        with _on_loopback():
            ray.init(address="local", _node_ip_address=LOOPBACK, **options)
    except BaseException:
        with contextlib.suppress(Exception):  # what failed is raised below, not what fails then
            ray.shutdown()
        _end_processes([child for child in parent.children() if child.pid not in before])
        raise


def _end_processes(roots: list[psutil.Process]) -> None:
    """End processes of Ray that this process started, with their children."""
    ended: list[psutil.Process] = []
    for root in roots:
        with contextlib.suppress(psutil.NoSuchProcess):
            if any("/ray/" in argument for argument in _command_line(root)):
                ended += [*root.children(recursive=True), root]
    for process in ended:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(ended, timeout=10)


def _command_line(process: psutil.Process) -> list[str]:
    """Its arguments. The system shows none while a process is just being replaced by its program: waited for."""
    give_up = time.monotonic() + COMMAND_LINE_SECONDS
    while not (arguments := process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > give_up:
            break
        time.sleep(0.01)
    return arguments


@contextlib.contextmanager
def _on_loopback() -> Iterator[None]:
    """Let Ray keep a loopback address: outside macOS and Windows it replaces 127.0.0.1 by the machine's own.

    The constant says whether this machine may be a node of a larger cluster, which a Ray that is started here never is.
    """
    name = "ENABLE_RAY_CLUSTER"
    known = getattr(ray_constants, name, None)
    if known is None:  # another version of Ray; the token protects its ports
        yield
        return
    setattr(ray_constants, name, False)
    try:
        yield
    finally:
        setattr(ray_constants, name, known)


def _check_answers(address: str, where: str) -> None:
    """Whether somebody listens at HOST:PORT; other forms of an address are left to Ray."""
    host, colon, port = address.rpartition(":")
    if "/" in address or not colon or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        problem = f"cannot be reached ({getattr(error, 'strerror', None) or error})"
        raise InputError(where, problem, "a running cluster, or RAY_ADDRESS unset") from error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].strip().rstrip(".") if lines else type(error).__name__
