"""Coat, A2C from random weights: return in the test world by protocol and form of the actor loss.

    python benchmarks/coat_a2c.py --data DIR [--updates 10000] [--seeds 0 1 2] [--out runs/bench-coat]

For each protocol and form: return and length at the end (means over the seeds, greedy and sampled), the highest mean
return during training, and the CPU seconds until the mean return reaches 80. References on the same test users: the
uniform random policy, the best non-personalised policy and the per-user oracle; for protocol transfer also perfect
planning on the fitted user model, evaluated on the truth. The runs are kept in --out and reused.
"""

from __future__ import annotations

import argparse
import logging
import warnings
from pathlib import Path

import pandas as pd

from ialp_rllib import runtime
from ialp_rllib.progress import Progress
from ialp_rllib.results.schemas import read_curves
from ialp_rllib.settings import load
from ialp_rllib.stages.adapt import job_stage
from ialp_rllib.stages.pipeline import run_all
from ialp_rllib.stages.run import RunFolder

FORMS = {
    "expected": [],
    "td (Eq. 9 to the letter)": [
        "agent.advantage=td",
        "agent.bootstrap=max",
        "agent.entropy=0",
        "agent.advantage_clip=0",
        "agent.target_rate=0",
        "agent.shared_encoder=true",
        "agent.dueling=false",
    ],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the Coat archive")
    parser.add_argument("--updates", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/bench-coat"))
    parser.add_argument("--protocols", nargs="+", default=["transfer", "split"])
    parser.add_argument("--forms", nargs="+", default=["expected", "td"], help="any of expected, td")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="further settings")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    for protocol in options.protocols:
        for form, settings in FORMS.items():
            if form.split()[0] in options.forms:
                compare(protocol, form, settings, options)
    runtime.stop()


def compare(protocol: str, form: str, extra: list[str], options: argparse.Namespace) -> None:
    """Train one form under one protocol with every seed, and print the results."""
    settings = load(
        "coat",
        [
            f"catalogue.data={options.data.resolve()}",
            f"seeds={options.seeds}",
            f"users.protocol={protocol}",
            "adapt.methods=[a2c]",
            f"adapt.env_steps={options.updates * 32}",
            *extra,
            *options.set,
        ],
    )
    run = RunFolder(settings, (options.out / f"{protocol}-{form.split()[0]}").resolve())
    run_all(run, Progress())
    users = run.facts("users")
    agent = settings.agent
    print(f"\n== {protocol}, advantage {form}: {options.updates} updates of batch {agent.batch}, mask of the last")
    print(f"   {agent.mask_recent} items, entropy {agent.entropy}, target {agent.target_rate}, seeds {options.seeds}")
    references = {"random": users["test_random_policy"]["return"], **users["references"]}
    print("   references:", ", ".join(f"{k} {v:.1f}" for k, v in references.items()))
    if "train" in users:
        quality = {k: v for k, v in users["train"].items() if k.endswith(("rmse", "correlation"))}
        print("   user model:", ", ".join(f"{k} {v:.3f}" for k, v in quality.items()))
    folders = [job_stage(run, "a2c", seed).folder for seed in options.seeds]
    curves = pd.concat([read_curves(f / "curves.parquet").to_pandas().assign(seed=f.name) for f in folders])
    for policy in ("greedy", "sampled"):
        test = curves[curves.series == f"test_{policy}"]
        means = test.groupby("updates")[["return", "length", "cpu_seconds"]].mean()
        last = test.groupby("seed").tail(1)
        reached = means[means["return"] >= 80]
        seconds = f"{reached.cpu_seconds.iloc[0]:.0f}" if len(reached) else "not reached"
        ends = " ".join(f"{value:.1f}" for value in last["return"])
        print(
            f"   {policy:8} end R {last['return'].mean():.2f} (seeds {ends}), length {last['length'].mean():.1f};"
            f" best mean {means['return'].max():.2f}; CPU seconds to R 80: {seconds}"
        )
        points = means.iloc[:: max(1, len(means) // 8)]
        print(
            "            curve:", "  ".join(f"{update}: {r:.1f}" for update, r in points["return"].items()), flush=True
        )


if __name__ == "__main__":
    main()
