"""How often a tiny judge is right on users whose log it never saw, and how often simpler rules are."""

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
from ialp_rllib.judge.tiny.tastes import Tastes, weighted
from ialp_rllib.settings import Settings


def accuracies(examples: Examples, catalogue: Catalogue, settings: Settings, folder: Path) -> dict[str, Any]:
    """Ask the model in ``folder`` the real prompts, on the plain engine.

    Returns:
        ``prompts``; ``accuracy``; ``standard_error`` of it; ``none_rate``: share of prompts answered None.
    """
    builder = PromptBuilder(catalogue, settings.judge, settings.catalogue.attributes)
    judge = replace(settings.judge, dtype="float32", gpus=0.0)
    engine = TransformersEngine(judge, builder, str(folder))
    answer = engine.ask(builder.build(examples.history, examples.candidates)).logprobs.argmax(1)
    engine.close()
    right, n = float((answer == examples.label).mean()), len(answer)
    none_rate = float((answer == settings.judge.candidates).mean())
    error = float(np.sqrt(right * (1 - right) / n))
    return {"prompts": n, "accuracy": right, "standard_error": error, "none_rate": none_rate}


def references(examples: Examples, catalogue: Catalogue, words: Tokens, tastes: Tastes) -> dict[str, float]:
    """Accuracy on the same prompts, all of which hold the true item, of

    ``chance``; ``popularity`` among the train users; ``tf_idf``: likeness in words to the history; ``vectors``: the
    tastes from which the judge was taught.
    """
    history, candidates = examples.history.astype(np.int64), examples.candidates.astype(np.int64)
    of_train = np.isin(catalogue.user, catalogue.train_users)
    often = np.bincount(catalogue.item[of_train], minlength=catalogue.n_items)
    row, place = np.nonzero(words.codes < words.size)
    bags = weighted(row, words.codes[row, place], (catalogue.n_items, words.size))
    padded = sparse.vstack([bags, sparse.csr_matrix((1, words.size))]).tocsr()
    like = [padded[offered] @ padded[past].sum(0).T for past, offered in zip(history, candidates, strict=True)]
    expected = tastes.logits(torch.from_numpy(history)).gather(1, torch.from_numpy(candidates)).numpy()
    scores = {"popularity": often[candidates], "tf_idf": np.array(like)[..., 0], "vectors": expected}
    found = {name: float((score.argmax(1) == examples.label).mean()) for name, score in scores.items()}
    return {"chance": 1 / candidates.shape[1], **found}
