"""Settings: frozen dataclasses, one per stage, read from a scenario's YAML and from ``--set key=value``.

Every number that a user could want to change is declared here, with its meaning, range and level (basic or advanced).
:func:`ialp_rllib.settings.describe.describe` lists them; ``ialp settings`` shows them.
"""

from ialp_rllib.settings.adapt import AdaptSettings, AlphaSettings, DQNSettings, PGSettings
from ialp_rllib.settings.agent import AgentSettings
from ialp_rllib.settings.base import fingerprint, from_dict, read_yaml, to_dict
from ialp_rllib.settings.candidates import CandidateSettings
from ialp_rllib.settings.catalogue import (
    CatalogueSettings,
    FilterSettings,
    InteractionsFile,
    ItemsFile,
    PublishedSettings,
    UsersFile,
)
from ialp_rllib.settings.environment import (
    LEA_ROWS,
    AugmentSettings,
    EnvironmentSettings,
    ItemTokenSettings,
    LEASettings,
)
from ialp_rllib.settings.imitation import ImitationSettings, JointSettings, WarmSettings
from ialp_rllib.settings.judge import (
    AUTO,
    LETTER,
    LIKELIHOOD,
    YES_NO,
    DistilSettings,
    JudgeSettings,
    LikelihoodSettings,
    OracleSettings,
    ProfileSettings,
)
from ialp_rllib.settings.judge_model import (
    CONTROLS,
    EMBEDDING,
    LLM,
    ORACLE,
    POPULARITY,
    RATINGS,
    TFIDF,
    WORDS,
    parse_judge_model,
)
from ialp_rllib.settings.offline import NeighbourSettings, OfflineSettings
from ialp_rllib.settings.ope import FQESettings, GateSettings, OPESettings
from ialp_rllib.settings.paper import Departure, departures
from ialp_rllib.settings.pretraining import ListwiseSettings, PretrainSettings
from ialp_rllib.settings.scenario import SCENARIOS, EvaluateSettings, RuntimeSettings, Settings, load
from ialp_rllib.settings.tuning import TuneSettings
from ialp_rllib.settings.users import (
    ChurnSettings,
    DeepFMSettings,
    DislikesSettings,
    DistanceSettings,
    DriftSettings,
    PatienceSettings,
    SegmentsSettings,
    SequenceModelSettings,
    UsersSettings,
)

__all__ = [
    "AUTO",
    "CONTROLS",
    "EMBEDDING",
    "LEA_ROWS",
    "LETTER",
    "LIKELIHOOD",
    "LLM",
    "ORACLE",
    "POPULARITY",
    "RATINGS",
    "SCENARIOS",
    "TFIDF",
    "WORDS",
    "YES_NO",
    "AdaptSettings",
    "AgentSettings",
    "AlphaSettings",
    "AugmentSettings",
    "CandidateSettings",
    "CatalogueSettings",
    "ChurnSettings",
    "DQNSettings",
    "DeepFMSettings",
    "Departure",
    "DislikesSettings",
    "DistanceSettings",
    "DistilSettings",
    "DriftSettings",
    "EnvironmentSettings",
    "EvaluateSettings",
    "FQESettings",
    "FilterSettings",
    "GateSettings",
    "ImitationSettings",
    "InteractionsFile",
    "ItemTokenSettings",
    "ItemsFile",
    "JointSettings",
    "JudgeSettings",
    "LEASettings",
    "LikelihoodSettings",
    "ListwiseSettings",
    "NeighbourSettings",
    "OPESettings",
    "OfflineSettings",
    "OracleSettings",
    "PGSettings",
    "PatienceSettings",
    "PretrainSettings",
    "ProfileSettings",
    "PublishedSettings",
    "RuntimeSettings",
    "SegmentsSettings",
    "SequenceModelSettings",
    "Settings",
    "TuneSettings",
    "UsersFile",
    "UsersSettings",
    "WarmSettings",
    "departures",
    "fingerprint",
    "from_dict",
    "load",
    "parse_judge_model",
    "read_yaml",
    "to_dict",
]
