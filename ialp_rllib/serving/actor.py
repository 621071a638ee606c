"""The learner of a service as an actor of Ray, which restarts it when it dies."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable

import ray

from ialp_rllib.agent.arithmetic import training_arithmetic
from ialp_rllib.errors import IalpError
from ialp_rllib.serving.folder import ServiceFolder, open_service
from ialp_rllib.serving.learner import ServiceLearner
from ialp_rllib.stages.training import ORPHAN_SECONDS
from ialp_rllib.storage import locked

log = logging.getLogger(__name__)

Page = Callable[[ServiceFolder], object]
PAGE_SECONDS = 10.0
_AGAIN = 10.0  # seconds before a restarted learner that could not start tries once more


class LearnerActor:
    """:class:`.learner.ServiceLearner` in a process of its own; works in a thread.

    It holds the lock of the learner's folder for its life: two would learn the same twice into one folder, and each
    delete what the other sealed. It waits for one that was killed, or whose node was lost, to be gone.

    Args:
        root: folder of the service.
        page: writes the page of the service, where nobody else does.
        wait: seconds for another learner to leave the folder.
    """

    def __init__(self, root: str, page: Page | None = None, wait: float = ORPHAN_SECONDS) -> None:
        self._stop, self._thread = threading.Event(), threading.Thread(target=self._loop, name="learner", daemon=True)
        self._held, self._page, self._page_time, self._page_problem = contextlib.ExitStack(), page, 0.0, ""
        self._problem: IalpError | None = None
        try:
            self._folder = open_service(root)
            self._held.enter_context(locked(self._folder.learner, seconds=wait))
            self._service = ServiceLearner(self._folder)
        except IalpError as error:
            if _is_restarted():  # nobody waits for an answer: Ray starts it again
                log.error("the learner cannot start, and tries again: %s", error)
                time.sleep(_AGAIN)
                os._exit(1)
            self._problem = error
            self._held.close()
            return
        self._thread.start()

    def problem(self) -> IalpError | None:
        """Why it could not start; None: it works."""
        return self._problem

    def pid(self) -> int:
        """Its process."""
        return os.getpid()

    def stop(self) -> None:
        """Write a checkpoint and end."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(60)
        self._held.close()

    @training_arithmetic(1)  # of this thread
    def _loop(self) -> None:
        poll = self._service.settings.poll
        try:
            while not self._stop.is_set():
                try:
                    busy = self._service.turn()
                except IalpError as error:  # a full disk, for instance: what was read is read again after a restart
                    log.error("the learner waits: %s", error)
                    self._stop.wait(10 * poll)
                    os._exit(1)
                self._write_page()
                if not busy:
                    self._stop.wait(poll)
            self._service.checkpoint()
            self._service.write_status()
        except BaseException:
            log.exception("the learner failed and starts again from its checkpoint")
            os._exit(1)

    def _write_page(self) -> None:
        """Write the page now and then; the service goes on without it."""
        if self._page is None or time.monotonic() - self._page_time < PAGE_SECONDS:
            return
        self._page_time, problem = time.monotonic(), ""
        try:
            self._page(self._folder)
        except (IalpError, OSError) as error:
            problem = str(error)
        if problem and problem != self._page_problem:
            log.warning("the page is not written, the service goes on: %s", problem)
        self._page_problem = problem


def _is_restarted() -> bool:
    """Whether Ray started this actor before."""
    if not ray.is_initialized():
        return False
    context = ray.get_runtime_context()
    return context.get_actor_id() is not None and bool(context.was_current_actor_reconstructed)
