"""Every file that imports ``ray.rllib``."""

from ialp_rllib.agent.rllib import algorithm  # noqa: F401 (tells IALPConfig which algorithm it builds by default)
