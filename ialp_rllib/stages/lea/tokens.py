"""Stage ``tokens``: one input vector of the LLM per item."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save_file

from ialp_rllib.judge.engines.threads import threads_for
from ialp_rllib.judge.engines.vectors import described
from ialp_rllib.judge.environment.tokens import encode_texts, initial_tokens, learn_tokens
from ialp_rllib.progress import Progress
from ialp_rllib.stages.lea.model import INITIAL, TOKENS, Cost, language_model, split_of
from ialp_rllib.stages.run import RunFolder
from ialp_rllib.storage import write_atomic


def run(run: RunFolder, folder: Path, progress: Progress) -> dict[str, Any]:
    """Learn the tokens of the most popular items; those of the others are centred means.

    Returns:
        Losses of the texts with their own and with other items' tokens (:func:`.learn_tokens`), numbers of items and of
        texts that are another item's, and the costs.
    """
    cost, settings = Cost(), run.settings
    split = split_of(run)
    model, tokenizer = language_model(settings)
    texts = described(run.catalogue, settings.catalogue.attributes)
    ids = encode_texts(tokenizer, texts, settings.lea.tokens.length)
    order = np.argsort(-split.train.popularity(split.n_items), kind="stable")
    with threads_for(model):
        tokens, facts = learn_tokens(
            model,
            ids,
            order,
            settings.lea.tokens,
            settings.seeds[0],
            folder,
            run.fingerprints["tokens"],
            lambda done, total: progress.update("Item tokens", done, total),
        )
    both = {"tokens": tokens.contiguous(), INITIAL: initial_tokens(model, ids).contiguous()}
    write_atomic(folder / TOKENS, partial(save_file, both))
    for path in folder.glob("group-*.safetensors"):
        path.unlink()
    same = len(texts) - len(set(texts))
    sizes = {"items": len(texts), "width": tokens.shape[1], "same_text": same}
    return {**facts, **sizes, "mean_text_tokens": float(np.mean([len(row) for row in ids])), **cost.facts()}
