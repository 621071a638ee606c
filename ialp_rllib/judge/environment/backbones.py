"""What makes hidden states of histories: a language model with adapters, or, as a control, a recurrent network.

Both read one vector per item and have the same two steps: what does not change is computed once per history
(:meth:`Backbone.keep`), the rest with candidates beside the history (:meth:`Backbone.hidden`).
"""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor, nn

from ialp_rllib.errors import InputError
from ialp_rllib.judge.environment.layers import Halves, Kept
from ialp_rllib.judge.environment.packing import packing
from ialp_rllib.judge.tuning.tune import adapter_targets
from ialp_rllib.settings import EnvironmentSettings


class Backbone(Protocol):
    """Hidden states of histories and of candidates after each of their items."""

    def bos(self) -> Tensor:
        """``(d,)``, the vector before the first item."""

    def keep(self, inputs: Tensor, lengths: list[int]) -> list[Any]:
        """What does not change while adapters are learnt, for each history.

        Args:
            inputs: ``(B, T + 1, d)`` the vector of :meth:`bos` and those of the items, padded on the right.
            lengths: positions of each that are no padding.
        """

    def hidden(self, kept: list[Any], candidates: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states.

        Args:
            kept: of B histories.
            candidates: ``(B, P, K, d)`` vectors of the K candidates after each of the first P items.

        Returns:
            ``(B, T + 1, d)`` after bos and each item, and ``(B, P, K, d)`` at the candidates.
        """


class LLMBackbone(nn.Module):
    """A causal language model, frozen but for LoRA adapters in its upper layers.

    Args:
        model: of transformers, in evaluation mode; it is changed in place.
        settings: adapters, and how many layers have them.

    Raises:
        InputError: the model cannot be used, or no layer has the name of a target.
    """

    def __init__(self, model: Any, settings: EnvironmentSettings) -> None:
        from peft import LoraConfig, inject_adapter_in_model

        super().__init__()
        config = model.config.get_text_config()
        model.requires_grad_(False)
        depth = config.num_hidden_layers
        top = depth if settings.top < 0 else min(settings.top, depth)
        lora = LoraConfig(
            r=settings.rank,
            lora_alpha=settings.lora_alpha,  # type: ignore[arg-type]  # fractions work as well
            lora_dropout=settings.dropout,
            target_modules=adapter_targets(model, settings.targets, "lea.environment.targets"),
            layers_to_transform=list(range(depth - top, depth)) or None,
        )
        try:
            # Into the whole model: peft looks for `.layers.N.`, with something before it, in the names.
            self.llm = inject_adapter_in_model(lora, model) if top else model
        except ValueError as error:
            problem = " ".join(str(error).split())[:200]
            raise InputError("lea.environment.targets", f"peft refuses them ({problem})", "other layers") from error
        for weight in self.parameters():
            if weight.requires_grad:
                weight.data = weight.data.float()
        token = next((t for t in (config.bos_token_id, config.eos_token_id) if isinstance(t, int)), 0)
        self._bos = model.get_input_embeddings().weight[token].detach()
        self._halves = Halves(model, top, settings.history + 1)

    @property
    def layers_below(self) -> int:
        """Number of frozen layers whose output is kept."""
        return self._halves.cut

    def bos(self) -> Tensor:
        """See :class:`Backbone`."""
        return self._bos

    def keep(self, inputs: Tensor, lengths: list[int]) -> list[Any]:
        """See :class:`Backbone`."""
        return self._halves.keep(inputs.to(self._bos), lengths)

    def hidden(self, kept: list[Kept], candidates: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`Backbone`."""
        rows, states, count, width = candidates.shape
        chain = max(len(one.states) for one in kept)
        pack = packing(chain - 1, states, count)
        x = self._halves.beside(kept, candidates.reshape(rows, -1, width).to(self._bos), pack)
        found = self._halves.upper(x, pack).float()
        return found[:, :chain], found[:, chain:].view(rows, states, count, width)


class GRUBackbone(nn.Module):
    """The control without an LLM: a recurrent network over fixed random vectors of the items' ids.

    Args:
        width: size of an item's vector and of a hidden state, d, as that of the LLM.
        trainable: parameters that the LLM's adapters have; the recurrent network has about as many.
        dropout: dropout rate on its input and output.
    """

    def __init__(self, width: int, trainable: int, dropout: float) -> None:
        super().__init__()
        linear = 4 * width + 6  # parameters: 3 h² + (4 d + 6) h + d
        size = ((linear**2 + 12 * max(trainable - width, 0)) ** 0.5 - linear) / 6
        self.gru = nn.GRU(width, max(1, round(size)), batch_first=True)
        self.out = nn.Linear(self.gru.hidden_size, width)
        self.dropout = nn.Dropout(dropout)
        self._width = width

    def bos(self) -> Tensor:
        """See :class:`Backbone`."""
        return self.out.weight.new_zeros(self._width)

    def keep(self, inputs: Tensor, lengths: list[int]) -> list[Any]:
        """See :class:`Backbone`."""
        return [row[:size] for row, size in zip(inputs, lengths, strict=True)]

    def hidden(self, kept: list[Tensor], candidates: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`Backbone`."""
        inputs = self.dropout(nn.utils.rnn.pad_sequence(kept, batch_first=True))
        chain = self.gru(inputs)[0]
        rows, states, count, width = candidates.shape
        if not candidates.numel():
            return self._out(chain), candidates
        before = chain[:, 1 : states + 1, None].expand(-1, -1, count, -1).reshape(1, rows * states * count, -1)
        after = self.gru(self.dropout(candidates).reshape(-1, 1, width), before.contiguous())[0]
        return self._out(chain), self._out(after).view(rows, states, count, width)

    def _out(self, hidden: Tensor) -> Tensor:
        found: Tensor = self.out(self.dropout(hidden))
        return found


def trainable_size(module: nn.Module) -> int:
    """Number of parameters that are trained."""
    return sum(weight.numel() for weight in module.parameters() if weight.requires_grad)
