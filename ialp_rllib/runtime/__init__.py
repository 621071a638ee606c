"""Where things run: in this process (for debuggers), on this machine, or on a Ray cluster.

The rest of the package calls :func:`start`, :func:`service`, :func:`get` and :func:`run_jobs`; none of it depends on
where things run.
"""

from ialp_rllib.runtime.failures import explain
from ialp_rllib.runtime.jobs import Fitted, Search, fit, run_jobs
from ialp_rllib.runtime.resources import ONE_CPU, Resources, hold_gpu, limit_memory, of_training, require_gpus
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
    "ONE_CPU",
    "RESTARTING",
    "Fitted",
    "Resources",
    "Search",
    "end",
    "explain",
    "fit",
    "get",
    "hold_gpu",
    "limit_memory",
    "local",
    "of_training",
    "ready",
    "require_gpus",
    "restart",
    "run_jobs",
    "service",
    "start",
    "stop",
]
