"""``ialp export``: what a training run leaves to a service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ialp_rllib.cli import console, crash


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run, such as runs/sample.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the exported policy.")],
    method: Annotated[str, typer.Option("--method", help="Method whose policy is exported.")] = "aialp_ap",
    seed: Annotated[int, typer.Option("--seed", help="Seed of the training run.")] = 0,
    beta: Annotated[
        str,
        typer.Option(
            "--beta",
            help="What the learning policy begins with: run, what the run learnt online; theta, a copy of pi_theta.",
        ),
    ] = "run",
    allow_plugins: console.Plugins = False,
    verbose: console.Verbose = False,
) -> None:
    """Export a trained policy to be served (`ialp serve`)."""
    console.configure_logging(verbose)
    crash.remember(shown=verbose)
    from ialp_rllib.commands import quoted
    from ialp_rllib.errors import InputError
    from ialp_rllib.serving.export import BETAS, export_run

    if beta not in BETAS:
        raise InputError("--beta", f"is {beta!r}", f"one of {', '.join(BETAS)}")
    folder = out.expanduser()
    artifact = export_run(
        run.expanduser().resolve(), folder.resolve(), name=method, seed=seed, beta=beta, allow_plugins=allow_plugins
    )
    console.print_path(f"Policy with {len(artifact.item_ids):,} items", artifact.folder)
    console.messages.print(f"Next: {quoted('serve', folder)}", highlight=False, soft_wrap=True)
