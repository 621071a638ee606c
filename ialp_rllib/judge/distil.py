"""Distillation: the judge plays sessions, and what it preferred becomes a Parquet table.

The table is a folder of parts, one per wave of sessions and step, each written whole or not at all. Starts and
proposals are drawn from (seed, wave, step), so a run that was killed goes on where it stopped and ends with the
same table.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.errors import InputError
from ialp_rllib.judge.actor import AnyJudge
from ialp_rllib.judge.judge import Answers
from ialp_rllib.judge.preferences import part_path, read_part, write_part
from ialp_rllib.settings import DistilSettings, JudgeSettings

log = logging.getLogger(__name__)


def distil(
    judge: AnyJudge,
    settings: JudgeSettings,
    plan: DistilSettings,
    catalogue: Catalogue,
    folder: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Let the judge play ``plan.sessions`` sessions of ``plan.steps`` steps (Algorithm 1 with uniform proposals).

    A session starts with a train user's first item. At each step the judge is offered k distinct items that are not in
    the session, uniform and in random order; the item it names (or that stands for None) extends the session.
    ``settings.batch`` sessions advance side by side, so that one call of the judge carries that many prompts.

    Args:
        judge: near or far.
        settings: ``candidates`` and ``batch`` are read.
        plan: sessions, steps, seed.
        catalogue: items, and the train users' first items.
        folder: where the parts lie; what is there already is kept and not asked again.
        progress: called with prompts done and prompts in all.

    Returns:
        How many prompts were asked now (0: the table was complete).

    Raises:
        InputError: the folder holds parts of another model, prompt, or plan; or the items do not suffice.
    """
    k, total, asked = settings.candidates, plan.sessions * plan.steps, 0
    if catalogue.n_items < plan.steps + k:
        expected = f"at least distil.steps + judge.candidates = {plan.steps + k}"
        raise InputError("items", f"there are {catalogue.n_items}", expected)
    folder.mkdir(parents=True, exist_ok=True)
    users, starts = session_starts(catalogue, plan)
    information = judge.info()
    fingerprints = (information["model_fingerprint"], information["prompt_fingerprint"])
    done = 0
    for wave, first in enumerate(range(0, plan.sessions, settings.batch)):
        sessions = np.arange(first, min(first + settings.batch, plan.sessions))
        history = starts[sessions, None]
        for step in range(1, plan.steps + 1):
            candidates = propose(history, catalogue.n_items, k, np.random.default_rng([plan.seed, wave, step]))
            path = part_path(folder, wave, step)
            if path.exists():
                chosen = _stored(path, fingerprints, sessions, history, candidates)
            else:
                answers = judge.answer(history, candidates)
                write_part(path, _part(sessions, step, users[sessions], history, candidates, answers, fingerprints))
                chosen, asked = answers.item, asked + len(sessions)
            history = np.concatenate([history, chosen[:, None]], 1)
            done += len(sessions)
            progress(done, total)
    log.info("%s: %d preferences, %d asked now", folder, total, asked)
    return asked


def session_starts(catalogue: Catalogue, plan: DistilSettings) -> tuple[np.ndarray, np.ndarray]:
    """User and first item of each session, ``(sessions,) int32``: every train user once before any comes twice."""
    offsets = catalogue.offsets()
    users = catalogue.train_users
    users = users[offsets[users + 1] > offsets[users]]
    if not len(users):
        raise InputError("interactions", "no train user has any", "a log with users of both worlds")
    rng = np.random.default_rng([plan.seed, 0])
    rounds = -(-plan.sessions // len(users))
    order = np.concatenate([rng.permutation(users) for _ in range(rounds)])[: plan.sessions]
    return order.astype(np.int32), catalogue.item[offsets[order]].astype(np.int32)


def propose(history: np.ndarray, n_items: int, k: int, rng: np.random.Generator) -> np.ndarray:
    """``(B, k) int32``: distinct items outside each session ``(B, t)``, uniform, in random order."""
    keys = rng.random((len(history), n_items), dtype=np.float32)
    np.put_along_axis(keys, history, 2.0, 1)
    lowest = np.argpartition(keys, k - 1, axis=1)[:, :k]
    # argpartition leaves them in no particular order, which is not the same as a random one: sort by the random keys.
    order = np.take_along_axis(keys, lowest, 1).argsort(1)
    return np.take_along_axis(lowest, order, 1).astype(np.int32)


def _part(
    sessions: np.ndarray,
    step: int,
    users: np.ndarray,
    history: np.ndarray,
    candidates: np.ndarray,
    answers: Answers,
    fingerprints: tuple[str, str],
) -> dict[str, np.ndarray | pa.Array]:
    """The columns of one part."""
    count = len(sessions)
    return {
        "session": sessions,
        "step": np.full(count, step),
        "user": users,
        "history": _lists(history),
        "candidates": _lists(candidates),
        "label": answers.label,
        "item": answers.item,
        "reward": answers.reward,
        "logprobs": _lists(answers.logprobs),
        "model_fingerprint": np.full(count, fingerprints[0]),
        "prompt_fingerprint": np.full(count, fingerprints[1]),
    }


def _lists(matrix: np.ndarray) -> pa.Array:
    """The rows of a matrix as an Arrow list column."""
    offsets = np.arange(0, matrix.size + 1, matrix.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(matrix).ravel()))


def _stored(
    path: Path, fingerprints: tuple[str, str], sessions: np.ndarray, history: np.ndarray, candidates: np.ndarray
) -> np.ndarray:
    """The items chosen in a part that lies there, once it is sure that this run would have asked the same."""
    part = read_part(path)
    for name, wanted in zip(("model", "prompt"), fingerprints, strict=True):
        found = part[f"{name}_fingerprint"].unique().to_pylist()
        if found != [wanted]:
            problem = f"was made with another {name} (fingerprint {', '.join(found)}, now {wanted})"
            raise InputError(str(path), problem, "the same model and prompt as before, or an empty folder")
    same = part.num_rows == len(sessions) and all(
        np.array_equal(part[name].combine_chunks().flatten().to_numpy(), wanted.ravel())
        for name, wanted in (("history", history), ("candidates", candidates))
    )
    if not same or not np.array_equal(part["session"].to_numpy(), sessions):
        problem = "holds other prompts than these settings ask"
        raise InputError(str(path), problem, "the same judge.batch and distil settings as before, or an empty folder")
    return part["item"].to_numpy()
