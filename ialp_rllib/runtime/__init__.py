"""Where things run: in this process (for debuggers), on this machine, or on a Ray cluster.

The rest of the package calls :func:`start`, :func:`service`, :func:`get` and :func:`run_jobs`; none of it depends on
where things run.
"""

from ialp_rllib.runtime.failures import explain
from ialp_rllib.runtime.jobs import Search, fit, run_jobs
from ialp_rllib.runtime.services import (
    DIED,
    HAS_LOCAL_MODE,
    RESTARTING,
    end,
    get,
    local,
    ready,
    restart,
    service,
    start,
    stop,
)

__all__ = [
    "DIED",
    "HAS_LOCAL_MODE",
    "RESTARTING",
    "Search",
    "end",
    "explain",
    "fit",
    "get",
    "local",
    "ready",
    "restart",
    "run_jobs",
    "service",
    "start",
    "stop",
]
