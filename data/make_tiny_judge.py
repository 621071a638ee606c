"""Train the tiny judge: a small MistralForCausalLM that reads the judge's prompt and matches candidates to the history.

Usage: ``python data/make_tiny_judge.py [--out data/tiny_judge] [--seed 0] [--threads 1]``

It replaces Mistral-7B on machines without a GPU or a network: the same architecture, prompt, label tokens and engines,
but small enough to be part of the repository. Its training data are new listeners in every batch, sampled from the
preference model of ``make_sample.py``, so that it has never seen a listener of the sample.

A small transformer learns the task only with a curriculum: 2 candidates first, then up to 10, and the instruction last
(RoPE depends on relative positions, so that training without the instruction transfers). Besides the final answer, the
loss includes, after each candidate, the correct answer among the candidates so far, a signal that is k times denser.
"""

from __future__ import annotations

import argparse
import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path

import make_sample
import numpy as np
import torch
from transformers import MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast

from ialp_rllib import settings
from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.sources.read import read_source
from ialp_rllib.judge.prompt.builder import PromptBuilder
from ialp_rllib.judge.tiny.tokenizer import LETTERS, make_tokenizer

log = logging.getLogger("make_tiny_judge")

SIZES = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
}
NONE_SHARE = 0.1


@dataclass(frozen=True)
class Stage:
    """A stage of the curriculum.

    Attributes:
        candidates: number of candidates.
        updates: maximum number of updates.
        enough: moving average of the accuracy at which the stage ends early.
        framed: whether prompts include the instruction.
    """

    candidates: int
    updates: int
    enough: float
    framed: bool = False


CURRICULUM = (
    Stage(2, 1500, 0.84),
    Stage(4, 800, 0.75),
    Stage(6, 500, 0.70),
    Stage(8, 400, 0.70),
    Stage(10, 1700, 1.0),
    Stage(10, 300, 1.0, framed=True),
)


class Examples:
    """Prompts as token ids, concatenated from segments that are tokenized once."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, catalogue: Catalogue, seed: int) -> None:
        scenario = settings.load("sample")
        self.builder = PromptBuilder(catalogue, scenario.judge, scenario.catalogue.attributes)
        self.items = make_sample.tables(0)[0]
        self.rng = np.random.default_rng(seed)
        self.tokenizer, b = tokenizer, self.builder
        self.frame = np.array([tokenizer.bos_token_id, *self.encode(b.frame)])
        self.history_head, self.candidates_head = self.encode(b.history_head), self.encode(b.candidates_head)
        self.stem = self.encode(b.stem)
        self.item = np.array([self.encode(b.history_mark + text) for text in b.item_texts])  # (I, 4)
        self.marks = np.array([self.encode(f" {letter}.") for letter in b.letters])  # (k, 2)
        self.labels = np.array([self.encode(label) for label in b.labels])[:, 0]  # (k + 1,)

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False)

    def draw(self, batch: int, k: int, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Histories ``(B, length)``, candidates ``(B, k)`` and answers ``(B,)`` (k: None) of new listeners."""
        tastes = make_sample.draw_tastes(batch, self.items, self.rng)
        session = make_sample.draw_sessions(tastes.utility(self.items), make_sample.LONGEST, self.rng)
        order = self.rng.random((batch, len(self.item)))
        np.put_along_axis(order, session, 2.0, 1)
        candidates = np.argpartition(order, k, axis=1)[:, :k]
        answer = self.rng.integers(0, k, batch)
        answer[self.rng.random(batch) < NONE_SHARE] = k
        rows = np.nonzero(answer < k)[0]
        candidates[rows, answer[rows]] = session[rows, length]
        return session[:, :length], candidates, answer

    def tokens(self, history: np.ndarray, candidates: np.ndarray, framed: bool) -> tuple[np.ndarray, np.ndarray]:
        """Token ids ``(B, S)`` and the positions ``(k + 1,)`` at which an answer is predicted."""
        batch, k = candidates.shape
        lettered = np.concatenate(
            [np.broadcast_to(self.marks[:k], (batch, k, 2)), self.item[candidates][:, :, 1:]], axis=2
        )
        parts = [
            self._rows(self.frame if framed else self.frame[:1], batch),
            self._rows(self.history_head, batch),
            self.item[history].reshape(batch, -1),
            self._rows(self.candidates_head, batch),
            lettered.reshape(batch, -1),
            self._rows(self.stem, batch),
        ]
        end = sum(p.shape[1] for p in parts)
        first = end - len(self.stem) - lettered.shape[1] * lettered.shape[2]
        asked = [first + lettered.shape[2] * (j + 1) - 1 for j in range(k)]
        return np.concatenate(parts, 1), np.array([*asked, end - 1])

    def targets(self, answer: np.ndarray, k: int) -> np.ndarray:
        """``(B, k + 1)`` label tokens: None before the position of the correct candidate, then its letter."""
        none = self.labels[-1]
        letter = np.where(answer < k, self.labels[np.minimum(answer, k - 1)], none)
        read = np.arange(k + 1) >= answer[:, None]
        return np.where(read, letter[:, None], none)

    def check(self) -> None:
        """Assert that the concatenated segments equal the tokens of the whole prompt."""
        history, candidates, _ = self.draw(8, self.builder.n_candidates, 7)
        whole = [self.tokenizer.encode(p) for p in self.builder.build(history, candidates)]
        assert (self.tokens(history, candidates, framed=True)[0] == np.array(whole)).all()

    @staticmethod
    def _rows(ids: list[int] | np.ndarray, batch: int) -> np.ndarray:
        return np.tile(np.asarray(ids), (batch, 1))


@dataclass
class Progress:
    """Progress of the training, saved in a checkpoint together with the weights."""

    stage: int = 0
    update: int = 0  # within the stage
    step: int = 0  # in total
    fallen: int = 0  # updates since the learning rate began to decay
    running: float = 0.0  # moving average of the accuracy
    seconds: float = 0.0


def train(model: MistralForCausalLM, examples: Examples, checkpoint: Path | None, batch: int = 64) -> None:
    """Train with the curriculum: AdamW, 200 updates of warm-up, decay of the rate to a tenth in the last two stages."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, betas=(0.9, 0.98))
    falling = sum(s.updates for s in CURRICULUM[-2:])
    at = Progress()
    if checkpoint and checkpoint.is_file():
        at = load_checkpoint(checkpoint, model, optimiser, examples)
    started = time.perf_counter() - at.seconds
    while at.stage < len(CURRICULUM):
        stage = CURRICULUM[at.stage]
        at.fallen += at.stage >= len(CURRICULUM) - 2
        decay = 0.55 + 0.45 * math.cos(math.pi * at.fallen / falling)
        optimiser.param_groups[0]["lr"] = 1e-3 * min(1.0, (at.step + 1) / 200) * decay
        length = min(10, int(examples.rng.integers(1, 14)))  # as in the log: often the maximum shown in a prompt
        history, candidates, answer = examples.draw(batch, stage.candidates, length)
        ids, asked = examples.tokens(history, candidates, stage.framed)
        target = torch.from_numpy(examples.targets(answer, stage.candidates))
        states = model.model(input_ids=torch.from_numpy(ids), use_cache=False).last_hidden_state[:, asked]
        logits = model.lm_head(states)
        each = torch.nn.functional.cross_entropy(logits.transpose(1, 2), target, reduction="none")
        loss = each[:, -1].mean() + each[:, :-1].mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        hits = (logits[:, -1].argmax(-1) == target[:, -1]).float().mean().item()
        at.running = hits if at.update == 0 else 0.98 * at.running + 0.02 * hits
        at.step, at.update, at.seconds = at.step + 1, at.update + 1, time.perf_counter() - started
        if at.step % 100 == 0:
            text = "update %d, %.0f s, k = %d, %d tokens, loss %.3f (answer %.3f), accuracy %.3f"
            last = each[:, -1].mean().item()
            log.info(text, at.step, at.seconds, stage.candidates, ids.shape[1], loss.item(), last, at.running)
        if at.update == stage.updates or (at.update >= 100 and at.running > stage.enough):
            at.stage, at.update = at.stage + 1, 0
        if checkpoint and at.step % 100 == 0:
            save_checkpoint(checkpoint, model, optimiser, examples, at)


def save_checkpoint(
    path: Path, model: MistralForCausalLM, optimiser: torch.optim.Optimizer, examples: Examples, at: Progress
) -> None:
    state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "at": vars(at)}
    torch.save({**state, "rng": examples.rng.bit_generator.state}, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)


def load_checkpoint(
    path: Path, model: MistralForCausalLM, optimiser: torch.optim.Optimizer, examples: Examples
) -> Progress:
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    examples.rng.bit_generator.state = state["rng"]
    return Progress(**state["at"])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "tiny_judge")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; on a busy machine one is faster than two")
    parser.add_argument("--checkpoint", type=Path, help="file, written every 100 updates and read if it exists")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)
    scenario = settings.load("sample")
    catalogue = read_source(scenario.catalogue)
    builder = PromptBuilder(catalogue, scenario.judge, scenario.catalogue.attributes)
    rng = np.random.default_rng(arguments.seed)
    texts = builder.build(
        rng.integers(0, catalogue.n_items, (500, 10)),
        rng.integers(0, catalogue.n_items, (500, builder.n_candidates)),
    )
    tokenizer = make_tokenizer(texts + LETTERS * 10, 4096)  # an upper bound: merging stops when every word is one token
    config = MistralConfig(
        vocab_size=-(-len(tokenizer) // 64) * 64,
        max_position_embeddings=2048,
        sliding_window=None,
        tie_word_embeddings=True,
        initializer_range=0.05,  # with the default of 0.02, a model of this size stays at chance
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **SIZES,
    )
    model = MistralForCausalLM(config)
    log.info("%d tokens, %d parameters", len(tokenizer), sum(p.numel() for p in model.parameters()))
    examples = Examples(tokenizer, catalogue, arguments.seed)
    examples.check()
    train(model, examples, arguments.checkpoint)
    model.save_pretrained(arguments.out)
    tokenizer.save_pretrained(arguments.out)
    (arguments.out / "model.safetensors").chmod(0o644)  # save_pretrained makes it readable for the owner only
    log.info("%s: %d bytes", arguments.out, sum(f.stat().st_size for f in arguments.out.iterdir()))


if __name__ == "__main__":
    main()
