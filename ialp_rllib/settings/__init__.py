"""Settings: frozen dataclasses, one per stage, read from a scenario's YAML and from ``--set key=value``.

Every number a user could want to change stands here with its meaning and its range, in the file of its stage.
"""

from ialp_rllib.settings.agent import AdaptSettings, AgentSettings, AlphaSettings, PretrainSettings
from ialp_rllib.settings.base import fingerprint, from_dict, read_yaml, to_dict
from ialp_rllib.settings.catalogue import CatalogueSettings
from ialp_rllib.settings.judge import DistilSettings, JudgeSettings, TuneSettings
from ialp_rllib.settings.scenario import SCENARIOS, EvaluateSettings, RuntimeSettings, Settings, load
from ialp_rllib.settings.users import (
    DeepFMSettings,
    DistanceSettings,
    PatienceSettings,
    SequenceModelSettings,
    UsersSettings,
)

__all__ = [
    "SCENARIOS",
    "AdaptSettings",
    "AgentSettings",
    "AlphaSettings",
    "CatalogueSettings",
    "DeepFMSettings",
    "DistanceSettings",
    "DistilSettings",
    "EvaluateSettings",
    "JudgeSettings",
    "PatienceSettings",
    "PretrainSettings",
    "RuntimeSettings",
    "SequenceModelSettings",
    "Settings",
    "TuneSettings",
    "UsersSettings",
    "fingerprint",
    "from_dict",
    "load",
    "read_yaml",
    "to_dict",
]
