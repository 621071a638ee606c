"""ialp_rllib: recommendation policies that are pre-trained on an LLM's preferences and adapt online, on Ray RLlib.

Importing the package registers its simulated users with gymnasium, ``ialp/Coat-v0`` and ``ialp/World-v0``, by name
only: what they need is loaded when one is made.
"""

from __future__ import annotations

import gymnasium

__version__ = "0.1.0"

for _id, _kind in (("Coat", "coat"), ("World", "run")):
    gymnasium.register(
        id=f"ialp/{_id}-v0",
        entry_point=f"ialp_rllib.users.named:{_kind}_env",
        vector_entry_point=f"ialp_rllib.users.named:{_kind}_vector_env",
    )
