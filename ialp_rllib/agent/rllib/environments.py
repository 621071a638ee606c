"""What the environment runner needs of an environment."""

from __future__ import annotations

from typing import Any

from gymnasium.vector import AutoresetMode

from ialp_rllib.errors import InputError
from ialp_rllib.settings import AgentSettings
from ialp_rllib.users.actions import require_items


def suit_runner(env: Any, agent: AgentSettings, candidates: int) -> None:
    """Switch ``env`` to same-step autoreset, and check that it fits the agent.

    Args:
        env: vector environment of users, or of a judge.
        candidates: number of candidates that the policy proposes in each step; 0: it selects one item.

    Raises:
        InputError: ``env`` resets otherwise and cannot be switched, its observations have another length than
            ``agent.history``, or it has so few items that the agent's mask may leave fewer than it must recommend.
    """
    if env.metadata.get("autoreset_mode") is not AutoresetMode.SAME_STEP:
        if not hasattr(env, "set_autoreset"):
            expected = 'a vector environment with same-step autoreset and the last observation in info["final_obs"]'
            raise InputError("environment", f"{type(env).__name__} has autoreset {_mode(env)}", expected)
        env.set_autoreset(AutoresetMode.SAME_STEP)
    shape = env.single_observation_space.shape
    if shape != (1 + agent.history,):
        expected = f"(1 + agent.history,) = {(1 + agent.history,)}: the user and the last items of the session"
        raise InputError("environment", f"has observations of shape {shape}", expected)
    if agent.mask_recent > agent.history:
        raise InputError("agent.mask_recent", f"is {agent.mask_recent}", f"at most agent.history = {agent.history}")
    recent = agent.history if agent.mask_recent < 0 else agent.mask_recent
    steps = env.sim.world.horizon if hasattr(env, "sim") else getattr(env, "horizon", recent)
    settings = "agent.mask_recent, the horizon" + (" or the number of candidates" if candidates else "")
    require_items(int(env.single_action_space.n), steps, min(recent, steps), settings, max(1, candidates))


def _mode(env: Any) -> str:
    return getattr(env.metadata.get("autoreset_mode"), "name", "unknown").lower()
