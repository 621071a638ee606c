"""``ialp evaluate``: what a policy would have earned, from logged decisions, and whether it may go out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from ialp_rllib.cli import console

if TYPE_CHECKING:
    from ialp_rllib.ope.bounds import Estimate
    from ialp_rllib.ope.targets import Target
    from ialp_rllib.report.ope.page import Report
    from ialp_rllib.settings import OPESettings

_COLOURS = {"pass": "green", "hold": "yellow", "refuse": "red"}
Artifact = Annotated[
    Path,
    typer.Option("--policy", help="A policy: folder of a trained one (RUN/adapt/METHOD/seed-N), or of `ialp export`."),
]


def evaluate(
    log: Annotated[
        Path, typer.Argument(help="Logged decisions with their probabilities: a .parquet or .csv file, or a folder.")
    ],
    policy: Artifact,
    against: Annotated[
        Path | None,
        typer.Option("--against", help="A policy to compare with on the same sessions. Default: the logging one."),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option("--alpha", min=0.0, max=1.0, help="Weight of a mixture's learning part. Default: its own."),
    ] = None,
    by: Annotated[
        str, typer.Option("--by", help="How a mixture draws its parts: step, for each decision, or session.")
    ] = "step",
    columns: Annotated[
        list[str] | None,
        typer.Option("--column", metavar="NAME=YOURS", help="Name of a column in your log, e.g. session=visit_id."),
    ] = None,
    fqe: Annotated[
        bool, typer.Option("--fqe/--no-fqe", help="Fit critics, for doubly robust estimates; without: importance only.")
    ] = True,
    out: Annotated[Path, typer.Option("--out", help="Folder for the page and its numbers.")] = Path("runs/evaluation"),
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, e.g. ope.gate.margin=0.")
    ] = None,
    verbose: console.Verbose = False,
) -> None:
    """Estimate what a policy would have earned from logged decisions of another one, and decide: pass, hold or refuse.

    Exit status: 0 pass, 3 hold, 4 refuse; 2: the log or the policy cannot be used.
    """
    console.configure_logging(verbose)
    from ialp_rllib.ope.gate import EXIT_CODES
    from ialp_rllib.report.ope.page import write_report

    settings = _settings(set_ or [])
    names = dict(_pair(text) for text in columns or [])
    with console.messages.status("Estimating"):
        report = _evaluated(log, names, policy, against, alpha, by, fqe, settings)
    page = write_report(out.expanduser(), report)
    _show(report)
    console.print_path("Page", page)
    raise typer.Exit(EXIT_CODES[report.verdict.decision])


def _settings(overrides: list[str]) -> OPESettings:
    """The settings ``ope.*``, of which no scenario has any of its own."""
    from ialp_rllib.errors import InputError
    from ialp_rllib.settings import load

    for override in overrides:
        if not override.startswith("ope."):
            raise InputError(f"--set {override}", "is none of an evaluation's settings", "ope.KEY=VALUE")
    return load("sample", overrides).ope


def _pair(text: str) -> tuple[str, str]:
    from ialp_rllib.errors import InputError

    name, equals, source = text.partition("=")
    if not (name and equals and source):
        raise InputError(f"--column {text}", "is not NAME=YOURS", "for example session=visit_id")
    return name, source


def _evaluated(
    path: Path,
    names: dict[str, str],
    policy: Path,
    against: Path | None,
    alpha: float | None,
    by: str,
    fqe: bool,
    settings: OPESettings,
) -> Report:
    from ialp_rllib.ope.evaluate import compared, ended_sessions, evaluate
    from ialp_rllib.ope.gate import decide
    from ialp_rllib.ope.log import read_log
    from ialp_rllib.ope.sessions import sessions_of
    from ialp_rllib.report.ope.page import Report

    target, part = _target(policy.expanduser(), alpha, by)
    other = _target(against.expanduser(), None, by)[0] if against is not None else None
    everything = sessions_of(read_log(path.expanduser(), names))
    sessions = ended_sessions(everything)
    found = evaluate(sessions, target, settings, fqe)
    alone = evaluate(sessions, part, settings, fqe) if part is not None else None
    base = float(sessions.returns.mean())
    reference = evaluate(sessions, other, settings, fqe) if other is not None else None
    if reference is not None:
        base, found = reference.level[reference.first].value, compared(found, reference, settings)
        alone = compared(alone, reference, settings) if alone is not None else None
    logged = sessions.rows["alpha"].to_numpy()
    return Report(
        log=str(path),
        evaluation=found,
        verdict=decide(found, settings.gate, base, alone, reference),
        settings=settings,
        against=str(against or ""),
        base=base,
        running=len(everything) - len(sessions),
        versions=sorted(set(sessions.rows["version"].to_pylist())),
        alphas=(float(logged.min()), float(logged.max())),
        alone=alone,
    )


def _target(folder: Path, alpha: float | None, by: str) -> tuple[Target, Target | None]:
    """The policy in ``folder``, and of a mixture its learning part alone."""
    import numpy as np

    from ialp_rllib.agent.policy.saved import load_policy
    from ialp_rllib.errors import InputError
    from ialp_rllib.ope.targets import Exploration, Ids, actor_of, actor_target, mixture_target, saved_target
    from ialp_rllib.serving.artifact import BETA, POLICY, read_artifact

    if by not in ("step", "session"):
        raise InputError("--by", f"is {by!r}", "step or session")
    if not (folder / POLICY).is_file():
        return saved_target(folder, alpha, by)
    artifact = read_artifact(folder)
    if artifact.retrieval is not None:
        problem = "acts on candidates (agent.candidates), of which the evaluation knows saved policies alone"
        raise InputError(str(folder), problem, "the policy of the run: RUN/adapt/METHOD/seed-N")
    explores = Exploration(artifact.agent.exploration, artifact.agent.epsilon)
    names = (np.array(part, object) for part in (artifact.item_ids, artifact.user_ids))
    ids, theta = Ids(artifact.network, *names), artifact.theta()
    if not artifact.has_beta:
        if alpha is not None:
            raise InputError("--alpha", f"is given, but {folder} has no learning part", "an export with --beta run")
        return actor_target(str(folder), ids, theta, explores), None
    beta = actor_of(load_policy(folder / BETA))
    assert beta is not None, "read_artifact checked that theta and beta have the same tensors"
    settings = artifact.settings()
    first = max(settings.alpha.start, settings.guard.least_alpha)  # of the first version that a service tries
    return mixture_target(str(folder), ids, theta, beta, first if alpha is None else alpha, by, explores)


def _show(report: Report) -> None:
    """Print the estimates, what the log supports, and the verdict."""
    found = report.evaluation
    out = console.results()
    table = Table("estimator", title=f"{found.name}, from {report.log}", title_justify="left")
    for name in ("return", "interval", f"difference to {report.against or 'the logging policy'}", "interval"):
        table.add_column(name, justify="right")
    for name, level in found.level.items():
        difference = found.difference.get(name)
        cells = ["", ""] if difference is None else [f"{difference.value:+.4g}", _ends(difference)]
        table.add_row(name, f"{level.value:.4g}", _ends(level), *cells)
    out.print(table)
    weights = found.weights
    out.print(
        f"{len(found.returns):,} sessions ended, logged return {found.returns.mean():.4g}; effective sample size "
        f"{weights.effective:,.0f}; without support {found.unsupported:.2%}; clipped {weights.clipped:.2%}; return at "
        f"least {found.lowest:.4g} if sessions are independent",
        highlight=False,
        soft_wrap=True,
    )
    decision = report.verdict.decision
    for number, reason in enumerate(report.verdict.reasons):
        head = decision if not number else " " * len(decision)
        out.print(Text.assemble((head, _COLOURS[decision]), f"  {reason}"), soft_wrap=True)


def _ends(estimate: Estimate) -> str:
    return f"[{estimate.low:.4g}, {estimate.high:.4g}]"
