"""Comparison with Stable-Baselines3 on Coat: CPU seconds to R 80, and environment steps per CPU second.

    python benchmarks/stable_baselines.py --data DIR [--seeds 0 1 2] [--steps 400000] [--out runs/bench-sb3]

*To R 80*: protocol split (both worlds are the truth, a fifth of the users for testing), the last 7 items masked; this
project's A2C with default settings and sb3-contrib's MaskablePPO, alternating between seeds. The environments are those
of ``ialp/Coat-v0`` without gymnasium's checking wrappers: one vector environment for this project, a DummyVecEnv of
single environments for Stable-Baselines3. The latter gets the same inputs as our networks: embeddings of items and of
the users' attributes instead of one-hot ids. Both are evaluated on the same episodes of the same test users, greedy and
sampled, every 2,048 environment steps; the first return of either kind that reaches 80 counts. CPU time is that of the
training process, without its start and without evaluation. Our runs are kept in --out and reused.

*Speed*: sampling and learning together, alternating within each round; medians over the rounds of the time, and of the
ratio to ours within a round. Stable-Baselines3's A2C has its default settings (an update per 5 steps, no mask).
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3 import A2C
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import Tensor, nn

from ialp_rllib import runtime
from ialp_rllib.agent.rllib.building import build
from ialp_rllib.progress import Progress
from ialp_rllib.results.schemas import read_curves
from ialp_rllib.settings import load
from ialp_rllib.stages.adapt import job_stage, method_config
from ialp_rllib.stages.pipeline import run_all
from ialp_rllib.stages.run import RunFolder
from ialp_rllib.users.env import UserEnv, UserVectorEnv
from ialp_rllib.users.simulator import spread_over_users
from ialp_rllib.users.worlds import make_world

EVERY = 2048  # environment steps between evaluations, and per rollout of MaskablePPO
ROUNDS, ROUND = 7, 4800  # rounds of the speed comparison, and environment steps per round
# Fastest to R 80 in a search over learning rates of 1.5e-4 to 1e-3, gamma 0.9 and 0.99, and batches of 64 to 256.
PPO = {"learning_rate": 3e-4, "gamma": 0.9, "batch_size": 128}


class Embeddings(BaseFeaturesExtractor):
    """Features: embeddings of the last item, of the session's items (mean), and of the user's attributes (sum)."""

    def __init__(self, space: Any, n_items: int, codes: np.ndarray, sizes: list[int], dim: int = 32) -> None:
        super().__init__(space, 3 * dim)
        self.n_items, self.codes = n_items, torch.as_tensor(codes)
        self.items = nn.Embedding(n_items + 1, dim, padding_idx=n_items)
        self.user = nn.ModuleList(nn.Embedding(size, dim) for size in sizes)

    def forward(self, observation: Tensor) -> Tensor:
        session, codes = observation[:, 1:].long(), self.codes[observation[:, 0].long()]
        items, length = self.items(session), (session != self.n_items).sum(1, keepdim=True)
        user = sum(embedding(codes[:, f]) for f, embedding in enumerate(self.user))
        return torch.cat([items[:, -1], items.sum(1) / length, user], 1)


class Measure(BaseCallback):
    """Evaluates before every rollout and at the end, and measures the CPU time of everything else."""

    model: MaskablePPO

    def __init__(self, run: RunFolder) -> None:
        super().__init__()
        agent, evaluate = run.settings.agent, run.settings.evaluate
        world = make_world(run.catalogue, run.settings.users, "test", run.root / "users")
        self.env = UserVectorEnv(world, evaluate.episodes, agent.history, "same_step", True, agent.mask_recent, False)
        self.start, self.seed = spread_over_users(evaluate.episodes, len(world.users), evaluate.seed), evaluate.seed
        self.curve: list[dict[str, float]] = []
        self.spent = self.resumed = 0.0

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if self.curve:
            self.spent += time.process_time() - self.resumed
        returns = {"greedy": self._mean_return(True), "sampled": self._mean_return(False)}
        self.curve.append({"env_steps": self.num_timesteps, "cpu_seconds": self.spent, **returns})
        self.resumed = time.process_time()

    _on_training_end = _on_rollout_start

    def _mean_return(self, greedy: bool) -> float:
        observation, info = self.env.reset(seed=self.seed, options={"start": self.start})
        running, total = np.ones(len(self.start), bool), np.zeros(len(self.start))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            while running.any():
                action, _ = self.model.predict(observation, None, None, greedy, info["action_mask"])
                observation, reward, terminated, truncated, info = self.env.step(action)
                total += reward * running
                running &= ~(terminated | truncated)
        return float(total.mean())


def sb3_agent(kind: type[Any], run: RunFolder, envs: int, seed: int, **hyper: Any) -> Any:
    """An agent of Stable-Baselines3 with environments of the train users.

    Args:
        kind: class of the agent.
        run: a run with the stages ``prepare`` and ``users``.
        envs: number of environments.
        seed: random seed.
        hyper: hyperparameters of the agent.
    """
    agent, catalogue = run.settings.agent, run.catalogue
    world = make_world(catalogue, run.settings.users, "train", run.root / "users")
    vector = DummyVecEnv([lambda: UserEnv(world, agent.history, False, agent.mask_recent)] * envs)
    known = dict(zip(("codes", "sizes"), catalogue.codes(catalogue.user_texts), strict=True), n_items=world.n_items)
    policy = {"net_arch": [64, 64], "features_extractor_class": Embeddings, "features_extractor_kwargs": known}
    return kind("MlpPolicy", vector, seed=seed, device="cpu", policy_kwargs=policy, **hyper)


def sb3_curve(run: RunFolder, seed: int, options: argparse.Namespace) -> pd.DataFrame:
    """Learning curve of MaskablePPO: columns ``env_steps``, ``cpu_seconds``, ``greedy``, ``sampled``."""
    measure = Measure(run)
    sb3_agent(MaskablePPO, run, 16, seed, n_steps=EVERY // 16, **options.ppo).learn(options.steps, callback=measure)
    return pd.DataFrame(measure.curve)


def our_run(options: argparse.Namespace, seeds: list[int]) -> RunFolder:
    """A run of scenario coat with A2C, with one training job at a time."""
    task = [f"catalogue.data={options.data.resolve()}", "users.protocol=split", "adapt.methods=[a2c]", f"seeds={seeds}"]
    logging_ = ["runtime.cpus=1", f"adapt.log_every={EVERY}", f"evaluate.every={EVERY}"]
    return RunFolder(load("coat", [*task, *logging_, *options.set]), options.out.resolve())


def our_curve(run: RunFolder, seed: int) -> pd.DataFrame:
    """Learning curve of this project's A2C, with the columns of :func:`sb3_curve`."""
    run_all(run, Progress())
    curve = read_curves(job_stage(run, "a2c", seed).folder / "curves.parquet").to_pandas()
    test = curve[curve.series != "train"].drop_duplicates(["series", "env_steps"])
    table = test.pivot(index=["env_steps", "cpu_seconds"], columns="series", values="return").reset_index()
    return table.rename(columns={"test_greedy": "greedy", "test_sampled": "sampled"})


def print_curve(name: str, seed: int, curve: pd.DataFrame) -> None:
    """Print a row of the first table: steps and CPU seconds to R 80 and at the end."""
    reached, last = curve[curve[["greedy", "sampled"]].max(axis=1) >= 80], curve.iloc[-1]
    points = [f"{p.env_steps:9,.0f} {p.cpu_seconds:7.1f}" for p in (*reached[:1].itertuples(), last)]
    first = f"{'not reached':>17}" if reached.empty else points[0]
    end = f"{points[-1]} {last.greedy:7.2f} {last.sampled:7.2f} {last.env_steps / last.cpu_seconds:12,.0f}"
    print(f"{name:18} {seed:4} {first} {end}", flush=True)


def compare_speed(run: RunFolder) -> None:
    """Measure and print the speed of sampling and learning."""
    agent = run.settings.agent
    runtime.start(run.settings.runtime)
    algorithm = build(method_config(run.settings, run.catalogue, run.root, "a2c", 0), 0)
    algorithm.rounds = ROUND // agent.envs
    agents: dict[str, tuple[Callable[[], Any], int, int]] = {"ours": (algorithm.training_step, agent.envs, agent.batch)}
    for envs in (16, 32):
        learn = partial(sb3_agent(A2C, run, envs, 0).learn, ROUND, reset_num_timesteps=False)
        agents[f"SB3 A2C, {envs} users"] = (learn, 5 * envs, 5 * envs)
    seconds: dict[str, list[float]] = {name: [] for name in agents}
    for _ in range(1 + ROUNDS):
        for name, (train, _, _) in agents.items():
            start = time.process_time()
            train()
            seconds[name].append(time.process_time() - start)
    times = pd.DataFrame(seconds)[1:]  # without the warm-up round
    print(f"\n{'A2C':20} {'env steps/CPU-s':>15} {'steps/update':>13} {'batch':>6} {'CPU-ms/update':>14} {'x ours':>6}")
    for name, (_, steps, batch) in agents.items():
        each, ratio = times[name].median() / ROUND, (times["ours"] / times[name]).median()
        print(f"{name:20} {1 / each:15,.0f} {steps:13} {batch:6} {each * steps * 1e3:14.2f} {ratio:6.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the Coat archive")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2], help="empty: only the speed comparison")
    parser.add_argument("--steps", type=int, default=400_000, help="environment steps of MaskablePPO")
    parser.add_argument("--out", type=Path, default=Path("runs/bench-sb3"))
    parser.add_argument("--ppo", type=json.loads, default=PPO, metavar="JSON", help=f"its settings: {json.dumps(PPO)}")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="further settings of our runs")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    run_all(run := our_run(options, options.seeds or [0]), Progress(), ["prepare", "users"])
    print(f"load {os.getloadavg()[0]:.1f}; MaskablePPO: {options.ppo}\n{'':23} {'to R 80:':>17} {'at the end:':>17}")
    print(f"{'':18} seed" + f" {'steps':>9} {'CPU-s':>7}" * 2 + f" {'greedy':>7} {'sampled':>7} {'steps/CPU-s':>12}")
    for seed in options.seeds:
        print_curve("our A2C", seed, our_curve(our_run(options, [seed]), seed))
        print_curve("SB3 MaskablePPO", seed, sb3_curve(run, seed, options))
    compare_speed(run)
    runtime.stop()


if __name__ == "__main__":
    main()
