"""A run under ``--local-mode`` with breakpoints in the environment, the learner and the judge; started by the tests.

    python session.py ARGUMENTS OF ialp

The first call of each place stops with ``breakpoint()``, the second with ``pdb.set_trace()``.
"""

from __future__ import annotations

import functools
import os
import pdb
import sys
from collections.abc import Callable
from typing import Any

from ialp_rllib import cli
from ialp_rllib.agent.learner import IALPLearner
from ialp_rllib.judge.judge import Judge
from ialp_rllib.users.env import UserVectorEnv

DRIVER = os.getpid()


def stop_in(owner: type, name: str, place: str) -> None:
    """Let the first two calls of a method stop in the debugger."""
    original: Callable[..., Any] = getattr(owner, name)
    calls = iter(range(2))

    @functools.wraps(original)
    def stopping(*args: Any, **kwargs: Any) -> Any:
        call = next(calls, None)
        if call is not None:
            where = f"{place}-{call}-{'driver' if os.getpid() == DRIVER else 'elsewhere'}"
            if call == 0:
                breakpoint()
            else:
                pdb.set_trace()
            del where
        return original(*args, **kwargs)

    setattr(owner, name, stopping)


if __name__ == "__main__":
    stop_in(UserVectorEnv, "step", "environment")
    stop_in(IALPLearner, "compute_loss_for_module", "learner")
    stop_in(Judge, "answer", "judge")
    sys.argv = ["ialp", *sys.argv[1:]]
    cli.main()
