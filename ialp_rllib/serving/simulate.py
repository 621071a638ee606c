"""Simulated users of a run's world as traffic for a service: their feedback comes late, twice, or never."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.disk import read_catalogue
from ialp_rllib.errors import InputError
from ialp_rllib.serving.artifact import Artifact
from ialp_rllib.serving.client import Client
from ialp_rllib.serving.service import Answer, Ask, Feedback
from ialp_rllib.settings import Settings, load
from ialp_rllib.settings.serving import FeedbackSettings, TrafficSettings
from ialp_rllib.stages.run import SETTINGS
from ialp_rllib.users.env import UserVectorEnv
from ialp_rllib.users.rewards import RatingReward
from ialp_rllib.users.simulator import World
from ialp_rllib.users.worlds import make_world

Recommend = Callable[[Sequence[Ask]], Sequence[Answer | None]]
Store = Callable[[Sequence[Feedback]], None]


class Traffic:
    """N users at the same time, who go on from what they are shown.

    Args:
        world: of the users.
        item_ids, user_ids: ids by index.
        settings: how many, and what becomes of their feedback.
        levels: number of levels of the answers in the policy's state; 0: none.

    Attributes:
        returns: of the sessions that ended, in their order.
        steps: recommendations so far.
    """

    def __init__(
        self,
        world: World,
        item_ids: Sequence[str],
        user_ids: Sequence[str],
        settings: TrafficSettings,
        levels: int = 0,
    ) -> None:
        self._env = UserVectorEnv(world, settings.users, 1, "same_step", feedback=levels)
        self._env.reset(seed=settings.seed)
        self._ids, self._user_ids, self._world, self._settings = item_ids, user_ids, world, settings
        self._index = {name: number for number, name in enumerate(item_ids)}
        self._rng = np.random.default_rng([settings.seed, 7])
        self._run, self._number = uuid.UUID(bytes=self._rng.bytes(16)).hex[:8], 0
        self._sums = np.zeros(settings.users)
        self._held: list[Feedback] = []
        self._sessions: list[Ask] = [self._begin(slot) for slot in range(settings.users)]
        self.returns: list[float] = []
        self.steps = 0

    def _begin(self, slot: int) -> Ask:
        """The first request of a new session."""
        self._number += 1
        sim = self._env.sim
        user = self._user_ids[sim.user[slot]] if self._world.shows_user else ""
        name, first = f"{self._run}-{self._number}", self._ids[sim.session[slot, -1]]
        return Ask(name, (first,), user=user, answers=(0,) if sim.feedback else ())

    def round(self, recommend: Recommend, store: Store) -> None:
        """One step of all users: they are shown an item, and answer."""
        answers = recommend(self._sessions)
        items = [answer.items[0] if answer is not None else None for answer in answers]
        if None in items:
            raise InputError("users.horizon", "leaves a session without an item to show", "shorter sessions")
        _, reward, left, limit, _ = self._env.step(np.array([self._index[str(item)] for item in items]))
        self.steps += len(items)
        self._sums += reward
        levels = self._env.sim.levels(reward) if self._env.sim.feedback else np.zeros(len(items), int)
        given = []
        for slot, answer in enumerate(answers):
            assert answer is not None
            ended = "left" if left[slot] else "limit" if limit[slot] else ""
            given.append(Feedback(answer.decision, float(reward[slot]), ended))
            if ended:
                self.returns.append(float(self._sums[slot]))
                self._sums[slot] = 0
                self._sessions[slot] = self._begin(slot)
            else:
                ask = self._sessions[slot]
                answered = (*ask.answers, int(levels[slot])) if self._env.sim.feedback else ()
                self._sessions[slot] = ask._replace(items=(*ask.items, str(items[slot])), answers=answered)
        store(self._delivered(given))

    def _delivered(self, given: list[Feedback]) -> list[Feedback]:
        """What arrives now of this step's feedback and of what was held back before."""
        rng, settings = self._rng, self._settings
        pool = self._held + [row for row in given if rng.random() >= settings.lost]
        pool = [pool[n] for n in rng.permutation(len(pool))]
        count = round(len(pool) * settings.late)
        self._held, arrived = pool[:count], pool[count:]
        return arrived + [row for row in arrived if rng.random() < settings.twice]


def read_world(root: Path, settings: TrafficSettings) -> tuple[World, Settings, Catalogue]:
    """The users of a run.

    Args:
        root: folder of the run.
        settings: whose taste, and how far it has moved on.

    Raises:
        InputError: the run is not finished.
    """
    if not (root / SETTINGS).is_file():
        raise InputError(str(root), f"is no run (it has no {SETTINGS})", "the folder of a finished run")
    of_run = load(str(root / SETTINGS), allow_plugins=None)
    catalogue = read_catalogue(root / "prepare")
    users = replace(of_run.users, test_shift=of_run.users.test_shift + settings.moved)
    world = make_world(catalogue, users, settings.world, root / "users", persons="train")
    return world, of_run, catalogue


def require_range(world: World, artifact: Artifact, feedback: FeedbackSettings) -> None:
    """Check that a service takes the rewards of a world for what its policy was trained on.

    Raises:
        InputError: it would refuse some, or they have other levels: the train world of a rating scenario is shifted.
    """
    low, high = world.reward_range
    if isinstance(world.reward, RatingReward):
        low, high = float(world.reward.ratings.min()), float(world.reward.ratings.max())
    if not (feedback.reward_low <= low and high <= feedback.reward_high):
        problem = f"gives rewards from {low:g} to {high:g}"
        expected = f"a world with rewards from {feedback.reward_low:g} to {feedback.reward_high:g}, such as test"
        raise InputError("traffic.world", problem, f"{expected}; or set feedback.reward_low and feedback.reward_high")
    if artifact.network.feedback and world.reward_range != artifact.level_range:
        problem = f"has levels of answers from {world.reward_range[0]:g} to {world.reward_range[1]:g}"
        low, high = artifact.level_range
        raise InputError("traffic.world", problem, f"those of the policy, from {low:g} to {high:g}, such as test")


class HttpTraffic:
    """Asks a service over HTTP, all users side by side."""

    def __init__(self, client: Client, users: int) -> None:
        self._client, self._pool = client, ThreadPoolExecutor(users, "traffic")

    def recommend(self, asks: Sequence[Ask]) -> list[Answer | None]:
        """Answers to the requests of all users."""
        return list(self._pool.map(self._ask, asks))

    def store(self, rows: Sequence[Feedback]) -> None:
        """Give feedback."""
        list(self._pool.map(self._give, rows))

    def _ask(self, ask: Ask) -> Answer:
        more = {"user": ask.user} if ask.user else {}
        if ask.answers:
            more["answers"] = list(ask.answers)  # type: ignore[assignment]
        return Answer(**self._client.recommend(ask.session, list(ask.items), **more))

    def _give(self, row: Feedback) -> None:
        self._client.feedback(row.decision, row.reward, row.ended)
