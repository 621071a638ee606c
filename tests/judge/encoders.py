"""A tiny text encoder with random weights, in the layouts of transformers and sentence-transformers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from transformers import BertConfig, BertModel, BertTokenizerFast


def write_encoder(folder: Path, texts: Iterable[str], modules: dict[str, Any] | None = None, seed: int = 0) -> Path:
    """A BERT of one layer whose vocabulary is the words of the texts.

    Args:
        folder: where it goes.
        texts: known words.
        modules: module -> content of its `config.json`: a folder of sentence-transformers; None: of transformers.
        seed: of the weights.
    """
    folder.mkdir(parents=True)
    words = sorted({word for text in texts for word in re.findall(r"\w+|[^\w\s]", text.lower())})
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizerFast(vocab={word: n for n, word in enumerate(vocabulary)}).save_pretrained(folder)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
        initializer_range=0.5,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    if modules is not None:
        listed = [{"type": "sentence_transformers.models.Transformer", "path": ""}]
        for name, content in modules.items():
            (folder / f"1_{name}").mkdir()
            (folder / f"1_{name}" / "config.json").write_text(json.dumps(content))
            listed.append({"type": f"sentence_transformers.models.{name}", "path": f"1_{name}"})
        (folder / "modules.json").write_text(json.dumps(listed))
    return folder
