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
    from ialp_rllib.ope.gate import Verdict
    from ialp_rllib.ope.targets import Target
    from ialp_rllib.report.ope.page import Report
    from ialp_rllib.settings import OPESettings

_Named = tuple[Path, int | None]
"""Folder of a policy, and which version of a service."""
_COLOURS = {"pass": "green", "hold": "yellow", "refuse": "red"}
Artifact = Annotated[
    Path,
    typer.Option(
        "--policy",
        help="A policy: folder of a trained one (RUN/adapt/METHOD/seed-N), of `ialp export`, or of a service.",
    ),
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
    version: Annotated[
        int | None,
        typer.Option(
            "--version", min=0, help="Version of the service in --policy, 0: pi_theta. Default: the one tried."
        ),
    ] = None,
    against_version: Annotated[
        int | None,
        typer.Option(
            "--against-version", min=0, help="Version to compare with, of the service in --against or --policy."
        ),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option("--alpha", min=0.0, max=1.0, help="Weight of a mixture's learning part. Default: its own."),
    ] = None,
    by: Annotated[
        str,
        typer.Option(
            "--by",
            help="How a mixture draws its parts: step, for each decision, or session. Default: as the service or the "
            "export does; step for a trained policy.",
        ),
    ] = "",
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
        folder = against or (policy if against_version is not None else None)
        other = (folder, against_version) if folder is not None else None
        report = _evaluated(log, names, (policy, version), other, alpha, by, fqe, settings)
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
    policy: _Named,
    against: _Named | None,
    alpha: float | None,
    by: str,
    fqe: bool,
    settings: OPESettings,
) -> Report:
    from ialp_rllib.ope.evaluate import ended_sessions
    from ialp_rllib.ope.gate import judge_policy
    from ialp_rllib.ope.log import read_log
    from ialp_rllib.ope.sessions import sessions_of
    from ialp_rllib.report.ope.page import Report

    target, part = _target(*policy, alpha, by)
    other = _target(*against, None, by)[0] if against is not None else None
    everything = sessions_of(read_log(path.expanduser(), names))
    sessions = ended_sessions(everything)
    found = judge_policy(sessions, target, settings, part=part, other=other, fqe=fqe)
    logged = sessions.rows["alpha"].to_numpy()
    return Report(
        log=str(path),
        evaluation=found.evaluation,
        verdict=found.verdict,
        settings=settings,
        against=other.name if other is not None else "",
        base=found.base,
        running=len(everything) - len(sessions),
        versions=sorted(set(sessions.rows["version"].to_pylist())),
        alphas=(float(logged.min()), float(logged.max())),
        alone=found.alone,
    )


def _target(
    folder: Path, version: int | None = None, alpha: float | None = None, by: str = ""
) -> tuple[Target, Target | None]:
    """The policy in ``folder``, and of a mixture its learning part alone."""
    from ialp_rllib.errors import InputError
    from ialp_rllib.ope.targets import saved_target
    from ialp_rllib.serving.artifact import POLICY, read_artifact
    from ialp_rllib.serving.evaluated import artifact_target, version_target
    from ialp_rllib.serving.folder import SERVICE, open_service
    from ialp_rllib.serving.versions import Versions

    folder = folder.expanduser()
    if by not in ("", "step", "session"):
        raise InputError("--by", f"is {by!r}", "step or session")
    if (folder / SERVICE).is_file():
        service = open_service(folder)
        current = Versions(service.root).current()
        tried = current.promoted if current.canary is None else current.canary
        return version_target(service, tried if version is None else version, alpha, by)
    if version is not None:
        raise InputError("--version", f"is given, but {folder} is no service", "the folder that `ialp serve` made")
    if not (folder / POLICY).is_file():
        return saved_target(folder, alpha, by or "step")
    return artifact_target(read_artifact(folder), alpha, by)


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
    show_verdict(report.verdict)


def show_verdict(verdict: Verdict) -> None:
    """Print what the gate says, and why."""
    for number, reason in enumerate(verdict.reasons):
        head = verdict.decision if not number else " " * len(verdict.decision)
        text = Text.assemble((head, _COLOURS[verdict.decision]), f"  {reason}")
        console.results().print(text, soft_wrap=True)


def _ends(estimate: Estimate) -> str:
    return f"[{estimate.low:.4g}, {estimate.high:.4g}]"
