"""Overhead of RLlib: environment, replay, update and weight synchronisation in three implementations.

    python benchmarks/training_loop.py [--items 300] [--rounds 5] [--steps 100]

Compared are this project's algorithm, a plain torch loop with the same networks, loss, environment and replay, and
RLlib's default path (SingleAgentEpisode objects, EpisodeReplayBuffer, learner connectors) with the same module and
loss. Every round runs all three in turn; the table shows medians over the rounds, and medians of the ratios within the
rounds.
"""

from __future__ import annotations

import argparse
import copy
import logging
import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np
import ray
import torch
from ray.rllib.connectors.common.add_observations_from_episodes_to_batch import AddObservationsFromEpisodesToBatch
from ray.rllib.connectors.learner import AddNextObservationsFromEpisodesToTrainBatch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.rllib.execution.rollout_ops import synchronous_parallel_sample
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME
from ray.rllib.utils.replay_buffers.episode_replay_buffer import EpisodeReplayBuffer
from ray.tune.registry import register_env

from ialp_rllib.agent.policy.exploration import sample
from ialp_rllib.agent.policy.networks import ActorCritic, NetworkConfig
from ialp_rllib.agent.policy.replay import ColumnarReplay
from ialp_rllib.agent.rllib.algorithm import IALP
from ialp_rllib.agent.rllib.building import build
from ialp_rllib.agent.rllib.config import IALPConfig
from ialp_rllib.agent.rllib.learner import IALPLearner
from ialp_rllib.settings import AgentSettings, DistanceSettings
from ialp_rllib.users.env import UserEnv, UserVectorEnv, World
from ialp_rllib.users.leaving import DistanceRule, close_pairs
from ialp_rllib.users.rewards import RatingReward

ENVS, BATCH, HISTORY = 32, 256, 10


def make_world(n_items: int, n_users: int = 300) -> World:
    """A world with random ratings and Coat's rules, for any size of the catalogue."""
    ratings = np.random.default_rng(0).integers(1, 6, (n_users, n_items)).astype(np.float32)
    close = close_pairs(ratings[:30], 9.0)
    distance = DistanceSettings()
    return World(
        n_items=n_items,
        n_users=n_users,
        users=np.arange(n_users),
        starts=None,
        reward=RatingReward(ratings),
        make_leaving=lambda n: DistanceRule(close, distance, 30),
        horizon=30,
        memory=7,
        shows_user=True,
    )


def this_project(world: World, agent: AgentSettings) -> Callable[[int], None]:
    """This project's algorithm."""
    register_env("bench", lambda c: UserVectorEnv(world, c["num_envs"], HISTORY, "same_step"))
    algorithm = build(IALPConfig().environment("bench").ialp(agent=agent), 0)

    def run(steps: int) -> None:
        algorithm.rounds = steps
        algorithm.training_step()

    return run


def plain(world: World, agent: AgentSettings) -> Callable[[int], None]:
    """A plain torch loop without Ray."""
    torch.manual_seed(0)
    net = ActorCritic(NetworkConfig(world.n_items, HISTORY, agent.dim, agent.blocks, agent.heads, agent.mask_recent))
    target = copy.deepcopy(net).requires_grad_(False)
    actor = [*net.policy.actor.parameters()]
    critic = [p for n, p in net.named_parameters() if not n.startswith("policy.actor.")]
    optimizers = [torch.optim.Adam(actor, lr=agent.actor_lr), torch.optim.Adam(critic, lr=agent.critic_lr)]
    env, replay = UserVectorEnv(world, ENVS, HISTORY, "same_step"), ColumnarReplay(agent.replay)
    state = {"observation": env.reset(seed=0)[0]}

    def run(steps: int) -> None:
        for _ in range(steps):
            observation = state["observation"]
            with torch.inference_mode():
                action = sample(torch.softmax(net.policy(torch.from_numpy(observation)), -1)).numpy()
            after, reward, terminated, _, info = env.step(action)
            state["observation"] = after
            columns = {
                "obs": observation,
                "actions": action,
                "rewards": reward,
                "new_obs": info.get("final_obs", after),
                "terminateds": terminated,
            }
            replay.add(columns)
            if len(replay) < agent.warmup:
                continue
            rows = {k: torch.from_numpy(v) for k, v in replay.sample(BATCH).items()}
            logits, q = net(rows["obs"])
            log = torch.log_softmax(logits, -1)
            probs = log.exp()
            with torch.no_grad():
                logits_next, q_next = target(rows["new_obs"])
                value = (torch.softmax(logits_next, -1) * q_next).sum(1)
                goal = rows["rewards"] + agent.gamma * (1 - rows["terminateds"].float()) * value
                delta = (goal - (probs * q).sum(1)).clamp(-agent.advantage_clip, agent.advantage_clip)
            action = rows["actions"][:, None]
            actor = -(log.gather(1, action)[:, 0] * delta).mean()
            entropy = -(probs * log).sum(1).mean()
            loss = actor - agent.entropy * entropy + (goal - q.gather(1, action)[:, 0]).square().mean()
            for optimizer in optimizers:
                optimizer.zero_grad()
            loss.backward()
            for group in (actor, critic):
                torch.nn.utils.clip_grad_norm_(group, agent.gradient_clip)
            for optimizer in optimizers:
                optimizer.step()
            with torch.no_grad():
                torch._foreach_lerp_(list(target.parameters()), list(net.parameters()), agent.target_rate)

    return run


class _EpisodeLearner(IALPLearner):
    """The same loss, with batches from RLlib's learner connectors."""

    def build(self) -> None:
        super().build()
        self._learner_connector.insert_after(
            AddObservationsFromEpisodesToBatch, AddNextObservationsFromEpisodesToTrainBatch()
        )


class _EpisodeIALP(IALP):
    """RLlib's default path: episode objects in an EpisodeReplayBuffer, and batches from connectors."""

    def training_step(self) -> None:
        config = self.config
        for _ in range(self.rounds):
            episodes, _ = synchronous_parallel_sample(
                worker_set=self.env_runner_group, concat=True, _uses_new_env_runners=True, _return_metrics=True
            )
            self.episodes.add(episodes)
            rows = self.episodes.sample(
                num_items=config.agent.batch, n_step=1, gamma=config.gamma, sample_episodes=True
            )
            self.learner_group.update(episodes=rows, timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: 0})
            self.env_runner_group.sync_weights(
                from_worker_or_learner_group=self.learner_group, policies=[DEFAULT_MODULE_ID], inference_only=True
            )


def default_path(world: World, agent: AgentSettings) -> Callable[[int], None]:
    """RLlib's default episode path with the same module and loss."""

    def creator(context: dict[str, object]) -> UserVectorEnv | UserEnv:
        if "num_envs" in context:
            return UserVectorEnv(world, int(context["num_envs"]), HISTORY, autoreset="next_step")  # type: ignore[call-overload]
        return UserEnv(world, HISTORY)

    register_env("bench-episodes", creator)
    config = IALPConfig(_EpisodeIALP).environment("bench-episodes").ialp(agent=agent)
    config.env_runner_cls = SingleAgentEnvRunner
    config.env_runners(gym_env_vectorize_mode="vector_entry_point")
    config.training(learner_class=_EpisodeLearner)
    algorithm = build(config, 0)
    algorithm.episodes = EpisodeReplayBuffer(capacity=agent.replay)

    def run(steps: int) -> None:
        algorithm.rounds = steps
        algorithm.training_step()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    torch.set_num_threads(1)
    agent = AgentSettings(batch=BATCH, envs=ENVS, history=HISTORY)
    world = make_world(options.items)
    loops = {"ialp_rllib": this_project, "plain torch loop": plain, "RLlib default path": default_path}
    runs = {name: make(world, agent) for name, make in loops.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for name, run in runs.items():
        run(20)  # warm-up: fills the replay buffer beyond its minimum
    for _ in range(options.rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run(options.steps)
            times[name].append((time.perf_counter() - start) / options.steps * 1e3)
    print(f"|A| = {options.items}, {ENVS} environments, batch {BATCH}, 1 thread, {options.rounds} rounds")
    print(f"{'':22} {'ms/update':>10} {'env steps/s':>12} {'speed / plain':>14}")
    for name, values in times.items():
        ratio = statistics.median(p / v for p, v in zip(times["plain torch loop"], values, strict=True))
        median = statistics.median(values)
        print(f"{name:22} {median:10.2f} {ENVS / median * 1e3:12.0f} {ratio:14.2f}")
    ratio = statistics.median(a / b for a, b in zip(times["RLlib default path"], times["ialp_rllib"], strict=True))
    print(f"ialp_rllib is {ratio:.2f} x as fast as RLlib's default path")
    ray.shutdown()


if __name__ == "__main__":
    main()
