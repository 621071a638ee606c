"""Throughput of the simulated users of a sequence world, and overhead of the environment over the reward model.

    python benchmarks/world_throughput.py [--items 16874] [--envs 256] [--steps 40] [--repeats 9] [--run DIR]

Everything runs in this process on one thread, alternating within each repeat; medians over the repeats are printed, and
medians of the ratios within the repeats. Measured are the vector environment; the same with action masks, copied in
every step or as a view; the single environment, one call for each of as many environments; and the forward pass of the
reward model on the same sessions and items. The model is untrained, of the default size, on synthetic items (weights do
not affect the speed), or, with ``--run``, that of a prepared run. ``--harder`` enables churn, dislikes, segments and
drift.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.settings import UsersSettings, from_dict
from ialp_rllib.users import sequence
from ialp_rllib.users.env import UserEnv, UserVectorEnv, World
from ialp_rllib.users.named import run_vector_env
from ialp_rllib.users.rewards import SequenceReward
from ialp_rllib.users.worlds import sequence_world

HARDER = {
    "churn": {"sessions": 3},
    "dislikes": {"penalty": 1.0},
    "segments": {"strength": 1.0},
    "drift": {"strength": 1.0},
}


def made_up(n_items: int, n_users: int = 2000, length: int = 5) -> Catalogue:
    """A catalogue of items with two attributes, and users with random interactions."""
    rng = np.random.default_rng(0)
    names = np.array([f"v{n}" for n in range(500)], object)
    return Catalogue(
        item_ids=np.arange(n_items).astype(str).astype(object),
        item_texts={"maker": names[rng.integers(500, size=n_items)], "kind": names[rng.integers(20, size=n_items)]},
        user_ids=np.arange(n_users).astype(str).astype(object),
        user_texts={},
        user=np.repeat(np.arange(n_users, dtype=np.int32), length),
        item=rng.integers(n_items, size=n_users * length).astype(np.int32),
        rating=np.full(n_users * length, np.nan, np.float32),
        split=np.zeros(n_users * length, np.int8),
        test_users=np.arange(n_users // 5),
    )


def made_up_world(n_items: int, users: UsersSettings) -> World:
    """A world with an untrained model, whose mean reward is calibrated to about 0.35 of 5."""
    catalogue = made_up(n_items)
    model = sequence.make_model(catalogue, users.sequence)
    model.offset.fill_(-2.6)
    return sequence_world(catalogue, users, catalogue.test_users, model)


def played(world: World, actions: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """The inputs of the reward model, sessions and items, for a sequence of actions ``(T, N)``."""
    env = UserVectorEnv(world, actions.shape[1], autoreset="same_step")
    env.reset(seed=0)
    inputs = []
    for action in actions:
        inputs.append((env.sim.session.copy(), action))
        env.step(action)
    return inputs


def vector(world: World, actions: np.ndarray, **options: bool) -> Callable[[], None]:
    env = UserVectorEnv(world, actions.shape[1], history=21, autoreset="same_step", **options)  # type: ignore[arg-type]

    def run() -> None:
        env.reset(seed=0)
        for action in actions:
            env.step(action)

    return run


def one_by_one(world: World, actions: np.ndarray) -> Callable[[], None]:
    envs = [UserEnv(world, history=21, action_mask=False) for _ in range(actions.shape[1])]

    def run() -> None:
        for seed, env in enumerate(envs):
            env.reset(seed=seed)
        for row in actions:
            for env, action in zip(envs, row, strict=True):
                _, _, terminated, truncated, _ = env.step(action)
                if terminated or truncated:
                    env.reset()

    return run


def forward(reward: SequenceReward, arrays: list[tuple[np.ndarray, np.ndarray]]) -> Callable[[], None]:
    inputs = [(torch.from_numpy(s[:, -reward.model.window :]), torch.from_numpy(a)[:, None]) for s, a in arrays]

    def run() -> None:
        with torch.inference_mode():
            for session, items in inputs:
                reward.model(session, items, reward.table)

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--items", type=int, default=16_874)
    parser.add_argument("--envs", type=int, default=256)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--run", default="", help="folder of a prepared run with a sequence world")
    parser.add_argument("--harder", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    harder = HARDER if options.harder else {}
    if options.run:
        world = run_vector_env(options.run, **harder).sim.world
    else:
        world = made_up_world(options.items, from_dict(UsersSettings, harder, "--harder"))
    assert isinstance(world.reward, SequenceReward)
    rng = np.random.default_rng(1)
    actions = rng.integers(world.n_items, size=(options.steps, options.envs))
    singly = actions[: max(1, options.steps // 10)]  # fewer steps, since each takes much longer
    variants = {
        "vector environment": (vector(world, actions), actions.size),
        "  with action masks": (vector(world, actions, action_mask=True), actions.size),
        "  with live masks": (vector(world, actions, action_mask=True, copy=False), actions.size),
        "reward model alone": (forward(world.reward, played(world, actions)), actions.size),
        "one at a time": (one_by_one(world, singly), singly.size),
    }
    speed: dict[str, list[float]] = {name: [] for name in variants}
    for run, _ in variants.values():
        run()  # warm-up
    for _ in range(options.repeats):
        for name, (run, steps) in variants.items():
            start = time.perf_counter()
            run()
            speed[name].append(steps / (time.perf_counter() - start))
    size = f"|A| = {world.n_items}, {options.envs} environments, {options.steps} steps"
    print(f"{size}, {options.repeats} repeats, 1 thread")
    print(f"{'':22} {'steps/s':>10} {'x one at a time':>16} {'overhead':>14}")
    for name, values in speed.items():
        speedup = statistics.median(v / s for v, s in zip(values, speed["one at a time"], strict=True))
        overhead = statistics.median(1 - v / f for v, f in zip(values, speed["reward model alone"], strict=True))
        text = f"{overhead:14.0%}" if name.startswith(("vector", " ")) else ""
        print(f"{name:22} {statistics.median(values):10.0f} {speedup:16.1f} {text}")


if __name__ == "__main__":
    main()
