"""Names of the files of a checkpoint: the only ones that are ever read or deleted, whatever a manifest lists."""

from __future__ import annotations

from ialp_rllib.storage import MANIFEST

STATE = "state.json"
PARTS = ("training", "learner", "rollouts", "replay")
TABLES = ("curves", "measurements", "sessions")
CONTENT_FILES = (STATE, *(f"{part}.safetensors" for part in PARTS), *(f"{name}.parquet" for name in TABLES))
CHECKPOINT_FILES = (*CONTENT_FILES, MANIFEST)
