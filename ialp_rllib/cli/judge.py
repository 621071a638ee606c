"""``ialp judge``: create and audit judges."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from ialp_rllib.cli import console, crash
from ialp_rllib.commands import command
from ialp_rllib.errors import AtChanceError, InputError

if TYPE_CHECKING:
    from ialp_rllib.report.audit.section import Cell

app = typer.Typer(help="Create and audit judges.", no_args_is_help=True)


@app.command()
def audit(
    scenario: console.Scenario,
    data: console.Data = None,
    out: console.Out = None,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            help="Judge to audit, as judge.model: a folder, tiny, tfidf, ... Default: the run's judge.",
        ),
    ] = "",
    prompts: Annotated[
        int | None,
        typer.Option(
            "--prompts",
            min=1,
            help="Number of held-out prompts, instead of judge.audit_prompts; about three times as many in total.",
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="File for the page. Default: audit/index.html in the run's folder.")
    ] = None,
    set_: console.Set = None,
    local_mode: console.Local = False,
    allow_plugins: console.Plugins = False,
    verbose: console.Verbose = False,
) -> None:
    """Measure the accuracy of a run's judge, its calibration, and its biases: position, wording, popularity."""
    from ialp_rllib import runtime
    from ialp_rllib.cli.bars import Bars
    from ialp_rllib.report.audit.run import audit_run

    console.configure_logging(verbose)
    run = console.open_run(scenario, data, out, set_, local_mode, allow_plugins)
    crash.remember(run.root, shown=verbose or local_mode)
    try:
        with Bars(console.messages, plain=local_mode) as bars:
            result, page = audit_run(run, bars, model=model, prompts=prompts or 0, page=html and html.expanduser())
    finally:
        runtime.stop()
    _show_audit(result)
    console.print_path("Audit", page)


def _show_audit(result: dict[str, Any]) -> None:
    """Print an audit as a table and sentences."""
    from ialp_rllib.report.audit.section import engine, rows
    from ialp_rllib.report.audit.sentences import finding, remarks

    table = Table("measure", title=f"judge: {engine(result)}", title_justify="left")
    before = result.get("before") or {}
    for name in ("before tuning", "as used") if before else ("value",):
        table.add_column(name, no_wrap=True)
    table.add_column("reference")
    for row in rows(result):
        values = (row.before, row.now) if before else (row.now,)
        table.add_row(row.name, *map(_cell, values), row.note)
    out = console.results()
    out.print(table)
    for sentence in filter(None, (finding(result), *remarks(result, before))):
        out.print(sentence, highlight=False)


def _cell(cell: Cell) -> Text:
    return Text.assemble(f"{cell.value}  ", (cell.under, "dim")) if cell.under else Text(cell.value)


@app.command()
def init(
    scenario: console.Scenario,
    out: Annotated[Path, typer.Option("--out", help="Folder for the judge, to be used as judge.model.")],
    tiny: Annotated[
        bool, typer.Option("--tiny", help="Train a small judge on the texts and the log of the scenario.")
    ] = False,
    data: console.Data = None,
    updates: Annotated[int | None, typer.Option("--updates", help="Number of gradient updates. Default: 1500.")] = None,
    threads: Annotated[int | None, typer.Option("--threads", help="CPU threads of the training. Default: 2.")] = None,
    prompts: Annotated[
        int | None, typer.Option("--prompts", help="Number of held-out prompts for its accuracy. Default: 2000.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Random seed. Default: 0.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting of the scenario.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the log of the training.")] = False,
) -> None:
    """Create a judge for machines without a GPU. The same command resumes an interrupted training.

    Exit code 3: the judge is finished, but not better than chance.
    """
    console.configure_logging(verbose)
    crash.remember(shown=verbose)
    if not tiny:
        expected = "--tiny; a large judge is used without training: --set judge.model=HUB_ID_OR_FOLDER"
        raise InputError("ialp judge init", "no kind of judge is given", expected)
    import torch

    from ialp_rllib.cli.bars import Bars
    from ialp_rllib.judge.tiny.make import make_tiny_judge
    from ialp_rllib.settings.base import from_dict
    from ialp_rllib.settings.overrides import as_text
    from ialp_rllib.settings.tiny import TinySettings

    options = {"updates": updates, "threads": threads, "prompts": prompts, "seed": seed}
    given = {name: value for name, value in options.items() if value is not None}
    chosen = from_dict(TinySettings, given, "ialp judge init", places={name: f"--{name}" for name in given})
    torch.set_num_threads(chosen.threads)
    settings = console.read_settings(scenario, data, set_)
    folder = out.expanduser().resolve()
    with Bars(console.messages) as bars:
        facts = make_tiny_judge(settings, chosen, folder, bars)
    _show_tiny(facts)
    _check_above_chance(facts, folder, chosen.updates)
    others = [override for override in set_ or [] if override.partition("=")[0] != "judge.model"]
    following = command(
        "run",
        scenario,
        data=data,
        overrides=[*others, as_text("judge.model", folder)],
        allow_plugins=bool(settings.adapt.plugins),
    )
    console.messages.print(f"\nNext: {following}", highlight=False, soft_wrap=True)


def _check_above_chance(facts: dict[str, Any], folder: Path, updates: int) -> None:
    """Raise unless a tiny judge is better than chance on held-out users."""
    held_out, k = facts["held_out"]["all_with_the_true_item"], facts["candidates"]
    if held_out["above_chance"]:
        return
    low, high = held_out["interval"]
    problem = (
        f"this judge is not better than chance: {held_out['accuracy']:.3f} of {held_out['prompts']:,} held-out prompts "
        f"answered correctly, 95% interval {low:.3f} to {high:.3f}, chance {1 / k:.3f}"
    )
    expected = f"a longer training (--updates {4 * updates}), more held-out prompts (--prompts), or a longer log"
    raise AtChanceError(str(folder), problem, expected)


def _show_tiny(facts: dict[str, Any]) -> None:
    """Print the accuracy of a tiny judge, with the accuracies of simple rules for comparison."""
    held_out, k = facts["held_out"], facts["candidates"]
    title = f"held-out users, {k} candidates, uniform negatives"
    table = Table("", title=title, title_justify="left")
    table.add_column("accuracy", justify="right")
    table.add_column("None rate", justify="right")
    for name, key in (
        ("tiny judge", "all_with_the_true_item"),
        ("tiny judge, some prompts without true item", "a_share_without"),
    ):
        measured = held_out[key]
        accuracy = f"{measured['accuracy']:.3f} ± {measured['standard_error']:.3f}"
        style = "" if measured["above_chance"] else "red"
        table.add_row(name, accuracy, f"{measured['none_rate']:.1%}", style=style)
    for name, accuracy in held_out["compare"].items():
        table.add_row(name.replace("_", "-"), f"{accuracy:.3f}", "")
    out = console.results()
    out.print(table)
    time = f"{facts['minutes']:.1f} minutes ({facts['cpu_minutes']:.1f} CPU minutes)"
    out.print(f"{facts['updates']} updates in {time}, {facts['parameters']:,} parameters", highlight=False)
