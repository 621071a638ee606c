"""Accuracy of a tiny judge on held-out users, and of simpler baselines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import sparse

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.features import Tokens
from ialp_rllib.judge.engines.transformers import TransformersEngine
from ialp_rllib.judge.examples import Examples
from ialp_rllib.judge.prompt.builder import PromptBuilder
from ialp_rllib.judge.tiny.next_item import NextItemModel, tf_idf
from ialp_rllib.results.statistics import is_above_chance, wilson
from ialp_rllib.settings import Settings


def accuracies(examples: Examples, catalogue: Catalogue, settings: Settings, folder: Path) -> dict[str, Any]:
    """Accuracy of the model in ``folder`` on complete prompts, with the transformers engine in float32.

    Returns:
        ``prompts``: their number; ``accuracy`` with its ``standard_error`` and 95% ``interval`` (:func:`.wilson`);
        ``above_chance``: whether it is above 1 / k on the prompts that contain the true item
        (:func:`.is_above_chance`); ``none_rate``: fraction answered None.
    """
    builder = PromptBuilder(catalogue, settings.judge, settings.catalogue.attributes)
    judge = replace(settings.judge, dtype="float32", gpus=0.0)
    engine = TransformersEngine(judge, builder, str(folder))
    answer = engine.ask(builder.build(examples.history, examples.candidates)).logprobs.argmax(1)
    engine.close()
    hits, k, n = answer == examples.label, settings.judge.candidates, len(answer)
    accuracy, shown = float(hits.mean()), examples.label < k
    return {
        "prompts": n,
        "accuracy": accuracy,
        "standard_error": float(np.sqrt(accuracy * (1 - accuracy) / n)),
        "interval": wilson(int(hits.sum()), n),
        "above_chance": is_above_chance(int(hits[shown].sum()), int(shown.sum()), 1 / k),
        "none_rate": float((answer == k).mean()),
    }


def baselines(examples: Examples, catalogue: Catalogue, words: Tokens, next_item: NextItemModel) -> dict[str, float]:
    """Accuracy of baselines on queries that all contain the true item.

    Returns:
        ``chance``; ``popularity``: the most frequent candidate in the visible log; ``tf_idf``: the candidate whose
        words are most similar to the history's; ``vectors``: the most probable candidate under the next-item model that
        generated the training queries.
    """
    history, candidates = examples.history.astype(np.int64), examples.candidates.astype(np.int64)
    counts = np.bincount(catalogue.visible().item, minlength=catalogue.n_items)
    row, slot = np.nonzero(words.codes < words.size)
    bags = tf_idf(row, words.codes[row, slot], (catalogue.n_items, words.size))
    padded = sparse.vstack([bags, sparse.csr_matrix((1, words.size))]).tocsr()
    similarity = [padded[options] @ padded[items].sum(0).T for items, options in zip(history, candidates, strict=True)]
    logits = next_item.logits(torch.from_numpy(history)).gather(1, torch.from_numpy(candidates)).numpy()
    scores = {"popularity": counts[candidates], "tf_idf": np.array(similarity)[..., 0], "vectors": logits}
    accuracy = {name: float((score.argmax(1) == examples.label).mean()) for name, score in scores.items()}
    return {"chance": 1 / candidates.shape[1], **accuracy}
