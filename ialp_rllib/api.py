"""The package from Python: run a scenario, open a run that is there, read what it holds.

>>> import ialp_rllib
>>> run = ialp_rllib.run("sample", {"adapt.env_steps": 5000, "adapt.methods": ["a2c", "aialp_ap"]})
>>> run.results.query("policy == 'sampled' and epoch == 'end'")
>>> run.policy("aialp_ap").recommend(["t017", "t122"], k=5)
>>> ialp_rllib.open_run("runs/sample").curves

These are the command line's verbs with Python values: the same settings, stages, files and errors.
"""

from __future__ import annotations

import html
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import ray
from rich.console import Console

from ialp_rllib import runtime
from ialp_rllib.agent.policy.saved import SavedPolicy, load_policy
from ialp_rllib.commands import resume_command
from ialp_rllib.errors import InputError
from ialp_rllib.judge.distillation.preferences import read_table
from ialp_rllib.progress import Progress
from ialp_rllib.results.schemas import of_budget
from ialp_rllib.settings import Settings, load
from ialp_rllib.settings.overrides import to_overrides
from ialp_rllib.stages.pipeline import run_all
from ialp_rllib.stages.run import ALL_STAGES, SETTINGS, STAGES, RunFolder, needed_stages
from ialp_rllib.stages.titles import TITLES
from ialp_rllib.storage import MANIFEST, STARTED, read_manifest, require_intact
from ialp_rllib.storage.parquet import read_parquet

__all__ = ["Run", "load_policy", "open_run", "run"]


def run(
    scenario: str | Path,
    overrides: Mapping[str, Any] | None = None,
    *,
    data: str | Path | None = None,
    out: str | Path | None = None,
    local_mode: bool = False,
    allow_plugins: bool = False,
    progress: bool | Progress = True,
) -> Run:
    """Run all stages of a scenario, as ``ialp run`` does; a stage that is up to date is not run again.

    Args:
        scenario: name of a scenario of the package (``sample``, ``coat``), or path of a YAML file.
        overrides: settings by dotted name, in nested mappings, or both: ``{"agent.gamma": 0.9, "judge": {"candidates":
            5}}``. Values are taken as they are: the text ``"yes"`` is no truth value, and ``None`` is no text.
        data: folder of the scenario's data (setting ``catalogue.data``).
        out: folder of the run; None: ``runs/SCENARIO``.
        local_mode: everything in this process, for breakpoints.
        allow_plugins: whether to import the modules that the scenario file names (``adapt.plugins``); those named in
            ``overrides`` are imported in any case.
        progress: a line per stage on standard error, nothing, or a :class:`ialp_rllib.progress.Progress` that draws it.

    Raises:
        InputError: unknown scenario or setting, a value of the wrong type or out of range, or what a stage refuses.
    """
    values = to_overrides(overrides or {})
    if data is not None:
        values += to_overrides({"catalogue.data": Path(data).expanduser().resolve()})
    if local_mode:
        values += to_overrides({"runtime.local_mode": True})
    settings = load(str(scenario), values, allow_plugins=allow_plugins)
    root = Path(out).expanduser() if out is not None else Path("runs") / (settings.scenario or Path(scenario).stem)
    folder = RunFolder(settings, root.resolve())
    if isinstance(progress, bool):
        progress = _Lines() if progress else Progress()
    joined = ray.is_initialized()  # by the caller, to whom it is left running
    try:
        run_all(folder, progress)
    finally:
        if not joined:
            runtime.stop()
    return Run(folder)


def open_run(folder: str | Path, *, allow_plugins: bool = False) -> Run:
    """A run that ``ialp run`` or :func:`run` left in ``folder``, finished or not.

    Args:
        allow_plugins: whether to import the modules that its settings name (``adapt.plugins``).

    Raises:
        InputError: the folder holds no run, its settings were changed or cannot be read, or they name plugins and these
            are not allowed.
    """
    root = Path(folder).expanduser().resolve()
    if not (root / SETTINGS).is_file():
        problem = f"holds no run (no {SETTINGS})" if root.is_dir() else "no such folder"
        raise InputError(str(root), problem, "the folder of a run: `ialp run SCENARIO --out FOLDER` makes one")
    require_intact(root)
    return Run(RunFolder(load(str(root / SETTINGS), allow_plugins=allow_plugins), root))


class Run:
    """What a run holds. Tables are read when they are asked for.

    All attributes but ``settings`` and ``folder`` raise :class:`InputError` where their stage is not finished.

    Args:
        run: settings and folder.
    """

    def __init__(self, run: RunFolder) -> None:
        self._run = run

    @property
    def folder(self) -> Path:
        """Where it is."""
        return self._run.root

    @property
    def settings(self) -> Settings:
        """All settings, as they were resolved."""
        return self._run.settings

    @property
    def results(self) -> pd.DataFrame:
        """A row per method, seed, epoch and policy (:data:`ialp_rllib.results.schemas.RESULTS`), of budget samples."""
        return of_budget(self._table("report", "results"))

    @property
    def curves(self) -> pd.DataFrame:
        """A row per point of a learning curve (:data:`ialp_rllib.results.schemas.CURVES`), of budget samples."""
        return of_budget(self._table("report", "curves"))

    @property
    def preferences(self) -> pd.DataFrame:
        """The judge's preference table (:data:`ialp_rllib.judge.distillation.preferences.PREFERENCES`).

        Items are indices: ``run.items["item_id"][run.preferences["item"]]``.
        """
        if self.settings.pretrain.mode == "live":
            raise InputError(str(self.folder), "pre-trained against the living judge", "a run with pretrain.mode=table")
        self._finished("distil")
        return read_table(self.folder / "distil").to_pandas()

    @property
    def items(self) -> pd.DataFrame:
        """The catalogue: ``item_id`` and the attributes' texts; the index is the item's."""
        return self._table("prepare", "items")

    @property
    def interactions(self) -> pd.DataFrame:
        """The log after all filters: ``user_id``, ``position``, ``item_id``, ``rating`` and ``split``."""
        return self._table("prepare", "interactions")

    @property
    def judge(self) -> dict[str, Any]:
        """The judge's audit: accuracy, calibration, letter bias, speed."""
        return dict(self._finished("tune")["facts"])

    @property
    def users(self) -> dict[str, Any]:
        """How well the simulated users were fitted, and what simple policies get from them."""
        return dict(self._finished("users")["facts"])

    @property
    def report(self) -> Path:
        """The report's page, ``index.html``."""
        self._finished("report")
        return self.folder / "report" / "index.html"

    def policy(self, method: str, seed: int = 0) -> SavedPolicy:
        """The policy of a method and seed at the end of its run.

        Raises:
            InputError: that job is not finished, or its folder is damaged.
        """
        if (method, seed) not in self._jobs():
            jobs = ", ".join(f"{name} seed {number}" for name, number in self._jobs()) or "none"
            problem = f"holds no finished policy of method {method!r} and seed {seed}"
            raise InputError(str(self.folder / "adapt"), problem, f"one of those that are finished: {jobs}")
        folder = self.folder / "adapt" / method / f"seed-{seed}"
        require_intact(folder)
        return load_policy(folder)

    def __repr__(self) -> str:
        width = max(len(name) for name, _ in self._contents())
        lines = [f"  {name:<{width}}  {text}" for name, text in self._contents()]
        return "\n".join([f"Run of {self.settings.scenario or 'a scenario'} in {self.folder}", *lines])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td><code>{html.escape(name)}</code></td><td style='text-align:left'>{html.escape(text)}</td></tr>"
            for name, text in self._contents()
        )
        title = html.escape(self.settings.scenario or "a scenario")
        return f"<b>Run of {title}</b> in <code>{html.escape(str(self.folder))}</code><table>{rows}</table>"

    # ---- what is there

    def _manifest(self, stage: str) -> dict[str, Any] | None:
        return read_manifest(self.folder / stage)

    def _finished(self, stage: str) -> dict[str, Any]:
        """Manifest of a stage that is finished, and none of whose inputs is being made again."""
        manifest = self._manifest(stage)
        needed = ALL_STAGES[stage].needs(self.settings)
        again = [n for n in needed if (self.folder / n / STARTED).is_file() and self._manifest(n) is None]
        if manifest is None or again:
            verb = "run" if stage in needed_stages(self.settings) else stage
            command = resume_command(verb, self.folder, bool(self.settings.adapt.plugins))
            problem = f"was made before stage {again[0]}, which is not finished" if manifest else "is not finished"
            raise InputError(f"stage {stage} of {self.folder}", problem, f"`{command}` first")
        for name in needed:
            if self._manifest(name) is not None:
                self._finished(name)
        require_intact(self.folder / stage)
        return manifest

    def _table(self, stage: str, name: str) -> pd.DataFrame:
        self._finished(stage)
        return read_parquet(self.folder / stage / f"{name}.parquet").to_pandas()

    def _jobs(self) -> list[tuple[str, int]]:
        """(method, seed) of the finished training runs."""
        paths = [path.parent for path in (self.folder / "adapt").glob(f"*/seed-*/{MANIFEST}")]
        found = [(path.parent.name, path.name.removeprefix("seed-")) for path in paths]
        return sorted((method, int(seed)) for method, seed in found if seed.isdecimal())

    def _contents(self) -> list[tuple[str, str]]:
        """Names of the attributes, and what they hold."""
        needed = needed_stages(self.settings)
        manifests = {name: self._manifest(name) for name in STAGES}
        facts = {name: manifest["facts"] for name, manifest in manifests.items() if manifest}
        open_ = [name for name in needed if name not in facts]
        rows = [("stages", f"not finished: {', '.join(open_)}" if open_ else "all finished")]
        if data := facts.get("prepare"):
            sizes = f"{data.get('items', 0):,} items, {data.get('interactions', 0):,} interactions"
            rows.append(("items, interactions", f"{sizes} of {data.get('users', 0):,} users"))
        if "users" in facts:
            rows.append(("users", f"simulated users: {self.settings.users.world} world"))
        if audit := facts.get("tune"):
            accuracy = f", accuracy {audit['accuracy']:.3f}" if "accuracy" in audit else ""
            rows.append(("judge", f"audit of {self.settings.judge.model}{accuracy}"))
        if prompts := facts.get("distil", {}).get("prompts"):
            rows.append(("preferences", f"{prompts:,} prompts"))
        if jobs := self._jobs():
            rows.append(("policy(method, seed)", ", ".join(f"{name} {seed}" for name, seed in jobs)))
        if "report" in facts:
            rows.append(("results, curves, report", f"{facts['report'].get('rows', 0)} measurements"))
        return rows


class _Lines(Progress):
    """A line per stage on standard error."""

    def __init__(self) -> None:
        super().__init__()
        self._console = Console(stderr=True, highlight=False)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        self._console.print(f"… {TITLES.get(name, name)}")
        with super().stage(name):
            yield
        self._console.print(f"[green]✓[/] {TITLES.get(name, name)}  {time.perf_counter() - began:.1f} s")

    def up_to_date(self, name: str) -> None:
        self._console.print(f"[green]✓[/] {TITLES.get(name, name)}  up to date")
