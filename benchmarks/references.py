"""Returns of the references that read the log, on all test users of a sequence world, without Ray.

    python benchmarks/references.py industry --data DIR [--seeds 1] [--judges tfidf ...] [--out DIR] [--set ...]

Each test user plays one episode. The standard error is over these users. `warm` takes the agent's own actor (stage
`warm`) greedy, and sampled at temperature 1 and at the one that the validation world chose; "effective" is the number
of equally frequent items with the same entropy as those shown. `--judges` plays judges that are no LLM over all items,
as `judge_direct` does. A second call reads what the first one left.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ialp_rllib.agent.policy.acting import in_order
from ialp_rllib.agent.policy.exploration import sample
from ialp_rllib.agent.policy.networks import mask
from ialp_rllib.agent.policy.references import best_list, train_model
from ialp_rllib.agent.policy.saved import load_policy
from ialp_rllib.catalogue.popularity import popularity
from ialp_rllib.progress import Progress
from ialp_rllib.results.measures import diversity
from ialp_rllib.settings import load
from ialp_rllib.stages import warm
from ialp_rllib.stages.judges import judge_of
from ialp_rllib.stages.pipeline import run_all
from ialp_rllib.stages.run import RunFolder
from ialp_rllib.users.env import UserVectorEnv
from ialp_rllib.users.planning import Policy, rollout
from ialp_rllib.users.sequence import score_all
from ialp_rllib.users.simulator import World
from ialp_rllib.users.worlds import make_world

Scores = Callable[[Tensor], Tensor]  # (B, 1 + L) observations -> (B, I + 1) scores, masked


class Table:
    """Plays policies with all users of a world, and prints a row for each."""

    def __init__(self, world: World, history: int, seed: int) -> None:
        self.world, self.history, self.seed = world, history, seed
        print(f"{len(world.users):,} test users, {world.n_items:,} items\n")
        print(f"{'policy':34} {'R':>7} {'SE':>6} {'length':>7} {'effective':>9} {'seconds':>8}")

    def add(self, name: str, select: Callable[[Tensor], Tensor]) -> None:
        """``select``: items ``(B,)`` for observations ``(B, 1 + L)``."""
        shown, began = [], time.perf_counter()

        def policy(env: UserVectorEnv, active: np.ndarray) -> np.ndarray:
            items = np.zeros(len(active), np.int64)
            items[active] = select(torch.from_numpy(env.sim.observe()[active])).numpy()
            shown.append(items[active])
            return items

        acting: Policy = policy
        with torch.inference_mode():
            torch.manual_seed(self.seed)
            users = len(self.world.users)
            returns, lengths = rollout(self.world, acting, users, self.seed, spread=True, history=self.history)
        effective = diversity(np.concatenate(shown), self.world.n_items)["effective_items"]
        error = returns.std(ddof=1) / len(returns) ** 0.5
        seconds = time.perf_counter() - began
        row = f"{returns.mean():7.2f} {error:6.2f} {lengths.mean():7.2f} {effective:9.1f} {seconds:8.1f}"
        print(f"{name:34} {row}", flush=True)


def greedy(scores: Scores) -> Callable[[Tensor], Tensor]:
    return lambda observation: scores(observation).argmax(1)


def add_references(table: Table, run: RunFolder) -> None:
    """Those that need no training: random, popularity, the best list, and greedy on the user model."""
    recent, n = run.settings.agent.mask_recent, table.world.n_items
    uniform = torch.ones(n + 1)
    table.add("random", lambda o: sample(mask(uniform.repeat(len(o), 1), o, recent).clamp(min=0)))
    counts = torch.from_numpy(np.append(popularity(run.visible, run.settings.judge.min_rating), 0))
    table.add("popularity, greedy", greedy(lambda o: mask(counts.repeat(len(o), 1), o, recent)))
    began = time.perf_counter()
    scores = best_list(run.settings, run.visible, run.root)["scores"]
    seconds = time.perf_counter() - began
    listed = torch.from_numpy(np.append(scores, np.float32(0)))
    table.add(f"best_list (built in {seconds:.1f} s)", greedy(lambda o: in_order(listed, o, recent)[0]))
    model, _ = train_model(run.root)
    embedded = model.table()
    table.add("model_greedy", greedy(lambda o: score_all(model, o[:, 1:].long(), embedded)))


def add_warm(table: Table, run: RunFolder, seed: int) -> None:
    stage = warm.seed_stage(run, run.root / "warm", seed)
    if not stage.up_to_date():
        warm.train_job(run.settings, str(run.root), stage, seed)
    manifest = stage.manifest()
    assert manifest is not None
    facts = manifest["facts"]
    losses = ", ".join(f"{row['held_out_loss']:.3f}" for row in facts["curve"])
    print(f"warm, seed {seed}: {facts['rows']:,} rows, {facts['cpu_seconds']:.0f} CPU-s, held-out nats {losses}")
    temperature, acting = facts["temperature"], load_policy(stage.folder).acting
    table.add(f"warm, seed {seed}, greedy", lambda o: acting(o.long())[0].argmax(1))
    table.add(f"warm, seed {seed}, sampled at {temperature:g}", lambda o: sample(acting(o.long())[1]))

    def untempered(observation: Tensor) -> Tensor:
        logits = acting.policy(observation)
        return sample(torch.softmax(logits * temperature, -1))

    table.add(f"warm, seed {seed}, sampled at 1", untempered)


def add_judge(table: Table, run: RunFolder, model: str) -> None:
    """A judge without an LLM, over all items that the session does not hold; sampled: by its calibrated softmax."""
    judge = judge_of(run, model=model)
    n = table.world.n_items
    everything = np.arange(n)

    def beliefs(observation: Tensor) -> Tensor:
        history = observation[:, 1:].numpy()
        scores = judge.beliefs(history, np.broadcast_to(everything, (len(history), n)))  # type: ignore[attr-defined]
        padded = torch.from_numpy(np.concatenate([scores, np.zeros((len(scores), 1))], 1))
        return padded.scatter(1, observation[:, 1:].long(), -torch.inf).index_fill(1, torch.tensor(n), -torch.inf)

    table.add(f"{model[-28:]}, greedy", greedy(beliefs))
    table.add(f"{model[-28:]}, sampled", lambda o: sample(torch.softmax(beliefs(o), -1)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario")
    parser.add_argument("--data", type=Path, help="folder of the data; none for the sample")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--judges", nargs="*", default=[], metavar="MODEL", help="values of judge.model without an LLM")
    parser.add_argument("--out", type=Path, default=Path("runs/references"), help="folder for the run's stages")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting, as of `ialp run`")
    options = parser.parse_args()
    torch.set_num_threads(1)
    changes = [*options.set, ("seeds", list(range(options.seeds)))]
    if options.data:
        changes.append(("catalogue.data", str(options.data.resolve())))
    run = RunFolder(load(options.scenario, changes), (options.out / Path(options.scenario).stem).resolve())
    run_all(run, Progress(), ["prepare", "users"])
    for name in ("prepare", "users"):
        manifest = run.stage(name).manifest()
        print(f"stage {name}: {manifest['seconds'] if manifest else 0:.0f} s")
    world = make_world(run.catalogue, run.settings.users, "test", run.root / "users")
    table = Table(world, run.settings.agent.history, run.settings.evaluate.seed)
    add_references(table, run)
    for model in options.judges:
        add_judge(table, run, model)
    for seed in run.settings.seeds:
        add_warm(table, run, seed)


if __name__ == "__main__":
    main()
