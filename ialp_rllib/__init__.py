"""ialp_rllib: recommenders that have met their users before launch.

Importing the package registers its simulated users with gymnasium: ``ialp/Coat-v0`` and ``ialp/World-v0``.
"""

from ialp_rllib.users.named import register_envs

__version__ = "0.1.0"

register_envs()
