"""What a run is: its settings, its folder, and the stages with what each depends on."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from ialp_rllib import __version__
from ialp_rllib.agent.checkpoints.files import CHECKPOINT_FILES
from ialp_rllib.agent.methods import load_plugins
from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.disk import read_catalogue
from ialp_rllib.catalogue.sources.read import data_folder, source_files
from ialp_rllib.errors import InputError, storage_errors
from ialp_rllib.settings import Settings, UsersSettings, fingerprint, to_dict
from ialp_rllib.stages.depends import (
    adapt_needs,
    agent_settings,
    always,
    distil_settings,
    joint_settings,
    judge_needs,
    judge_settings,
    own_settings,
    pretrain_needs,
    pretrain_settings,
    tuning_data,
    warm_settings,
)
from ialp_rllib.stages.lea.specs import LEA_STAGES
from ialp_rllib.stages.spec import StageSpec
from ialp_rllib.storage import MANIFEST, Stage, hash_file, write_text
from ialp_rllib.users.model_files import CONFIG, WEIGHTS
from ialp_rllib.users.worlds import SPLITS

log = logging.getLogger(__name__)

SETTINGS = "settings.yaml"


JOB_FILES = (
    *("curves.parquet", "measurements.parquet", "sessions.parquet", "policy.safetensors", "config.json"),
    "progress.json",
    *(f"checkpoint-*/{name}" for name in CHECKPOINT_FILES),
)
"""What one training run writes, see :class:`ialp_rllib.agent.trainer.TrainingPlan`."""


WORLD_FILES = (WEIGHTS, CONFIG, "progress.json")
"""What fitting one world's user model writes, see :mod:`ialp_rllib.users.model_files`."""

TRANSITIONS = "transitions.safetensors"
"""File, in the parts of stage ``adapt``, of what a critic was learnt from, and of the log that batches mix in."""

LISTWISE = "listwise"
"""Folder, in that of a seed of stage ``pretrain``, of the actor while the critic is still trained."""


CHOICES = "choices"
"""Folder, in that of a seed of stage ``joint``, of the policies to choose from."""


def _parts(folder: str) -> tuple[str, ...]:
    return tuple(f"{folder}/{name}" for name in (*JOB_FILES, MANIFEST))


STAGES = {
    "prepare": StageSpec(
        always(),
        lambda s: [_catalogue(s), source_digest(s)],
        ("items.parquet", "users.parquet", "interactions.parquet", "truth.parquet", "propensities.parquet", "work/**"),
    ),
    "users": StageSpec(
        always("prepare"),
        lambda s: [s.users],
        tuple(f"{split}/{name}" for split in SPLITS for name in (*WORLD_FILES, MANIFEST)),
        in_parts=True,
        whole_log=True,
    ),
    "warm": StageSpec(
        always("prepare", "users"),
        lambda s: [*warm_settings(s), s.seeds],
        _parts("seed-*"),
        in_parts=True,
        test_world=False,
    ),
    "tune": StageSpec(
        judge_needs(),
        lambda s: [judge_settings(s), tuning_data(s)],
        ("audit.json", "audit_before.json", "answer.json", "adapter/**", "merged/**", "checkpoint/**"),
    ),
    "distil": StageSpec(
        judge_needs("tune"),
        lambda s: [judge_settings(s), *distil_settings(s)],
        ("preferences.json", "part-*.parquet", "round-*.json"),
    ),
    "pretrain": StageSpec(
        pretrain_needs,
        lambda s: [*pretrain_settings(s), s.seeds],
        (*_parts("seed-*"), f"seed-*/{LISTWISE}/**"),
        in_parts=True,
        test_world=False,
    ),
    "joint": StageSpec(
        always("prepare", "users", "distil"),
        lambda s: [*joint_settings(s), s.seeds],
        (*_parts("seed-*"), f"seed-*/{CHOICES}/**"),
        in_parts=True,
        test_world=False,
    ),
    "adapt": StageSpec(
        adapt_needs,
        lambda s: [agent_settings(s.agent, s), s.adapt, s.evaluate, s.seeds, *own_settings(s)],
        (
            *_parts("*/seed-*"),
            *_parts("*/updates/seed-*"),
            *(f"{of}/seed-*/{TRANSITIONS}" for of in ("critic-*", "log")),
        ),
        in_parts=True,
    ),
    "report": StageSpec(
        always("adapt"),
        lambda s: [s.scenario],
        ("index.html", "results.parquet", "curves.parquet"),
        module="ialp_rllib.report.run.stage",
    ),
}


ALL_STAGES = {"prepare": STAGES["prepare"], **LEA_STAGES, **STAGES}
"""The stages of `ialp lea` and those of `ialp run`: with ``pretrain.source=lea`` these read the former."""


def source_digest(settings: Settings) -> str:
    """SHA-256 of the names and contents of the files that the source reads."""
    digest = hashlib.sha256()
    folder = data_folder(settings.catalogue.data)
    for path in source_files(settings.catalogue):
        digest.update(str(path.relative_to(folder)).encode())
        digest.update(bytes.fromhex(hash_file(path)))
    return digest.hexdigest()


def _catalogue(settings: Settings) -> Any:
    """The catalogue's settings without those that affect only how fast it is read."""
    return replace(settings.catalogue, memory_mb=0, threads=0)


class Fingerprints:
    """Fingerprints by stage: of this version, of the settings and data that it reads, and of the stages before it.

    Each is computed when it is asked for, so that a stage can run where a later one's data or model are missing.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: dict[str, str] = {}

    @cached_property
    def _of_whole_log(self) -> Fingerprints:
        catalogue = replace(self._settings.catalogue, log_users=-1, cold_items=0.0)
        same = catalogue == self._settings.catalogue
        return self if same else Fingerprints(replace(self._settings, catalogue=catalogue))

    @cached_property
    def _of_other_worlds(self) -> Fingerprints:
        users, plain = self._settings.users, UsersSettings
        users = replace(users, test_model=plain.test_model, test_shift=plain.test_shift)
        return self if users == self._settings.users else Fingerprints(replace(self._settings, users=users))

    def __getitem__(self, name: str) -> str:
        if name not in self._known:
            own = ALL_STAGES[name].settings(self._settings)
            self._known[name] = fingerprint(name, __version__, own, self.before(name))
        return self._known[name]

    def before(self, name: str) -> list[str]:
        """Of the stages that a stage reads, as far as it reads them."""
        spec = ALL_STAGES[name]
        known = self._of_whole_log if spec.whole_log else self
        some = known if spec.test_world else known._of_other_worlds
        return [(some if needed == "users" else known)[needed] for needed in spec.needs(self._settings)]

    def of_world(self, split: str) -> str:
        """Of the simulated users of one world: no other one depends on how the test world differs."""
        return fingerprint((self if split == "test" else self._of_other_worlds)["users"], split)

    def all(self) -> dict[str, str]:
        """Stage -> fingerprint, of all stages."""
        return {name: self[name] for name in STAGES}


@dataclass
class KeptJudge:
    """The judge that one stage leaves running for the next one, see :mod:`ialp_rllib.stages.judges`.

    Attributes:
        wanted: whether a later stage of the same call needs it.
        judge: the running judge, or None.
    """

    wanted: bool = False
    judge: Any = None


@dataclass(frozen=True)
class RunFolder:
    """A run: its settings and its folder.

    Attributes:
        root: holds one folder per stage, ``settings.yaml``, and ``logs`` for TensorBoard.
        kept: the judge that one stage leaves running for the next.
    """

    settings: Settings
    root: Path
    kept: KeptJudge = field(default_factory=KeptJudge, compare=False, repr=False)

    def __post_init__(self) -> None:
        load_plugins(self.settings.adapt.plugins)  # created in the driver and in every training process

    @cached_property
    def fingerprints(self) -> Fingerprints:
        """Stage -> fingerprint."""
        return Fingerprints(self.settings)

    def stage(self, name: str) -> Stage:
        return Stage(self.root / name, name, self.fingerprints[name], ALL_STAGES[name].files)

    def facts(self, name: str) -> dict[str, Any]:
        """What a finished stage reported in its manifest; empty if it is not finished."""
        manifest = self.stage(name).manifest()
        return manifest["facts"] if manifest else {}

    @cached_property
    def catalogue(self) -> Catalogue:
        """The prepared catalogue, from which the simulated users are made."""
        return read_catalogue(self.root / "prepare")

    @cached_property
    def visible(self) -> Catalogue:
        """What agent, judge and tuning may see of it (:meth:`.Catalogue.visible`)."""
        return self.catalogue.visible()

    def write_settings(self) -> None:
        """Write the resolved settings, ``settings.yaml``, and their hash, ``manifest.json``, unless they are there."""
        stage = Stage(self.root, "settings", fingerprint(__version__, self.settings), (SETTINGS,))
        with storage_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
        try:
            if stage.up_to_date():
                return
        except InputError as error:  # nothing is lost with it: both files are written again
            log.warning("%s %s: writing it again", error.where, error.problem)
        text = yaml.safe_dump(to_dict(self.settings), sort_keys=False)
        write_text(self.root / SETTINGS, text)
        stage.finish({"version": __version__}, 0.0)


def needed_stages(settings: Settings, last: str = "report") -> list[str]:
    """The stages that a report depends on, in order; ``last``: ``report``, or ``ranking`` of `ialp lea`."""
    open_, needed = [last], set()
    while open_:
        name = open_.pop()
        needed.add(name)
        open_ += ALL_STAGES[name].needs(settings)
    return [name for name in ALL_STAGES if name in needed]
