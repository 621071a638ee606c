"""``ialp judge``: make a judge, and see how good one is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from ialp_rllib.cli import console
from ialp_rllib.errors import InputError

if TYPE_CHECKING:
    from ialp_rllib.report.audit.section import Cell

app = typer.Typer(help="Make a judge, and see how good one is.", no_args_is_help=True)


@app.command()
def audit(
    scenario: console.Scenario,
    data: console.Data = None,
    out: console.Out = None,
    model: Annotated[
        str,
        typer.Option(
            "--model", help="Who is audited: tiny, oracle, a folder, or a Hugging Face id. Default: the run's."
        ),
    ] = "",
    prompts: Annotated[
        int | None,
        typer.Option(
            "--prompts", min=1, help="Held-out prompts, instead of judge.audit_prompts; thrice as many in all."
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="File for the page. Default: audit/index.html of the run.")
    ] = None,
    set_: console.Set = None,
    local_mode: console.Local = False,
    verbose: console.Verbose = False,
) -> None:
    """Measure how good a run's judge is, and what it answers for reasons of letter, wording or popularity."""
    from ialp_rllib import runtime
    from ialp_rllib.cli.bars import Bars
    from ialp_rllib.report.audit.run import audit_run

    console.configure_logging(verbose)
    run = console.open_run(scenario, data, out, set_, local_mode)
    try:
        with Bars(console.messages, plain=local_mode) as bars:
            found, page = audit_run(run, bars, model=model, prompts=prompts or 0, page=html and html.expanduser())
    finally:
        runtime.stop()
    _show_audit(found)
    console.messages.print(f"\nAudit: [bold]{escape(str(page))}[/]", soft_wrap=True)


def _show_audit(found: dict[str, Any]) -> None:
    """What the audit found, as a table on standard output."""
    from ialp_rllib.report.audit.section import engine, rows
    from ialp_rllib.report.audit.sentences import finding, remarks

    table = Table("measure", title=f"judge: {escape(engine(found))}", title_justify="left")
    before = found.get("before") or {}
    for name in ("before tuning", "as used") if before else ("value",):
        table.add_column(name, no_wrap=True)
    table.add_column("to compare with")
    for row in rows(found):
        values = (row.before, row.now) if before else (row.now,)
        table.add_row(row.name, *map(_cell, values), row.note)
    out = console.results()
    out.print(table)
    for sentence in filter(None, (finding(found), *remarks(found, before))):
        out.print(escape(sentence), highlight=False)


def _cell(cell: Cell) -> str:
    return f"{cell.value}  [dim]{cell.under}[/]" if cell.under else cell.value


@app.command()
def init(
    scenario: console.Scenario,
    out: Annotated[Path, typer.Option("--out", help="Folder for the judge: what judge.model is to be set to.")],
    tiny: Annotated[
        bool, typer.Option("--tiny", help="A small one, made from the scenario's own texts and log.")
    ] = False,
    data: console.Data = None,
    updates: Annotated[int | None, typer.Option("--updates", help="Updates of the training. Default: 1500.")] = None,
    minutes: Annotated[
        float | None, typer.Option("--minutes", help="Time after which it ends with fewer. Default: 40; 0: no limit.")
    ] = None,
    threads: Annotated[int | None, typer.Option("--threads", help="Threads of the training. Default: 2.")] = None,
    prompts: Annotated[
        int | None, typer.Option("--prompts", help="Held-out prompts for its accuracy. Default: 2000.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of all randomness. Default: 0.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting of the scenario.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log how the training goes.")] = False,
) -> None:
    """Make a judge for machines without a GPU; a killed call goes on where it was."""
    console.configure_logging(verbose)
    if not tiny:
        expected = "--tiny; a large one needs no making: --set judge.model=HUB_ID_OR_FOLDER"
        raise InputError("ialp judge init", "no kind of judge is named", expected)
    import torch

    from ialp_rllib.cli.bars import Bars
    from ialp_rllib.judge.tiny import make_tiny_judge
    from ialp_rllib.settings.base import from_dict
    from ialp_rllib.settings.tiny import TinySettings

    options = {"updates": updates, "minutes": minutes, "threads": threads, "prompts": prompts, "seed": seed}
    given = {name: value for name, value in options.items() if value is not None}
    chosen = from_dict(TinySettings, given, "ialp judge init", places={name: f"--{name}" for name in given})
    torch.set_num_threads(chosen.threads)
    settings = console.open_run(scenario, data, None, set_, False).settings
    folder = out.expanduser().resolve()
    with Bars(console.messages) as bars:
        facts = make_tiny_judge(settings, chosen, folder, bars)
    _show_tiny(facts)
    given_data = "" if data is None else f" --data {data}"
    command = f"ialp run {scenario}{given_data} --set judge.model={folder}"
    console.messages.print(f"\nNext: {escape(command)}", highlight=False, soft_wrap=True)


def _show_tiny(facts: dict[str, Any]) -> None:
    """How good the tiny judge is, beside what it is to be compared with."""
    held_out, k = facts["held_out"], facts["candidates"]
    table = Table("on held-out users", title=f"{k} candidates, the others uniform", title_justify="left")
    table.add_column("right", justify="right")
    table.add_column("answered None", justify="right")
    for name, key in (("tiny judge", "all_with_the_true_item"), ("tiny judge, some without", "a_share_without")):
        found = held_out[key]
        table.add_row(name, f"{found['accuracy']:.3f} ± {found['standard_error']:.3f}", f"{found['none_rate']:.1%}")
    for name, accuracy in held_out["compare"].items():
        table.add_row(name.replace("_", "-"), f"{accuracy:.3f}", "")
    shown = console.results()
    shown.print(table)
    spent = f"{facts['minutes']:.1f} minutes ({facts['cpu_minutes']:.1f} of CPU)"
    said = f"{facts['updates']} updates in {spent}, {facts['parameters']:,} parameters"
    shown.print(said, highlight=False)
