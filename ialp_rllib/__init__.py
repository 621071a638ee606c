"""ialp_rllib: recommendation policies that are pre-trained on an LLM's preferences and adapt online, on Ray RLlib.

What a notebook needs: :func:`run`, :func:`open_run`, :func:`load_policy`. They are imported when they are first used,
so that ``import ialp_rllib`` loads neither torch nor Ray.

Importing the package registers its simulated users with gymnasium, ``ialp/Coat-v0`` and ``ialp/World-v0``, by name
only: what they need is loaded when one is made.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ialp_rllib.agent.policy.saved import SavedPolicy, load_policy
    from ialp_rllib.api import Run, open_run, run
    from ialp_rllib.errors import IalpError, InputError

__version__ = "0.1.0"

__all__ = ["IalpError", "InputError", "Run", "SavedPolicy", "__version__", "load_policy", "open_run", "run"]

_HOMES = {
    "IalpError": "ialp_rllib.errors",
    "InputError": "ialp_rllib.errors",
    "Run": "ialp_rllib.api",
    "SavedPolicy": "ialp_rllib.agent.policy.saved",
    "load_policy": "ialp_rllib.agent.policy.saved",
    "open_run": "ialp_rllib.api",
    "run": "ialp_rllib.api",
}


def __getattr__(name: str) -> Any:
    """A name of the public interface, imported when it is first asked for (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _register_users() -> None:
    """Register the simulated users with gymnasium, where it is installed: a served policy does without it."""
    try:
        import gymnasium
    except ModuleNotFoundError:
        return
    for name, kind in (("Coat", "coat"), ("World", "run")):
        gymnasium.register(
            id=f"ialp/{name}-v0",
            entry_point=f"ialp_rllib.users.named:{kind}_env",
            vector_entry_point=f"ialp_rllib.users.named:{kind}_vector_env",
        )


_register_users()
