"""What makes hidden states of histories: a language model with adapters, or, as a control, a recurrent network.

Both read one vector per item and have the same two steps: what does not change is computed once per history
(:meth:`Backbone.keep`), the rest with candidates beside the history (:meth:`Backbone.hidden`).
"""

from __future__ import annotations

import warnings
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ialp_rllib.errors import InputError
from ialp_rllib.judge.environment.layers import Halves, Kept
from ialp_rllib.judge.environment.packing import packing
from ialp_rllib.judge.tuning.tune import adapter_targets
from ialp_rllib.settings import EnvironmentSettings

STATES, REWARDS = "states", "rewards"
"""What hidden states are for: with ``adapters=separate`` each has adapters of its own."""


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

    def hidden(self, kept: list[Any], candidates: Tensor, purpose: str) -> tuple[Tensor, Tensor]:
        """Hidden states.

        Args:
            kept: of B histories.
            candidates: ``(B, P, K, d)`` vectors of the K candidates after each of the first P items.
            purpose: :data:`STATES` or :data:`REWARDS`.

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
        super().__init__()
        config = model.config.get_text_config()
        model.requires_grad_(False)
        self.llm = _with_adapters(model, settings)
        for weight in self.parameters():
            if weight.requires_grad:
                weight.data = weight.data.float()
        token = next((t for t in (config.bos_token_id, config.eos_token_id) if isinstance(t, int)), 0)
        self._bos = model.get_input_embeddings().weight[token].detach()
        self._halves = Halves(model, _adapted_layers(config, settings), settings.history + 1)
        self._adapted = _adapters_of(self.llm) if settings.adapters == "separate" else []

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

    def hidden(self, kept: list[Kept], candidates: Tensor, purpose: str) -> tuple[Tensor, Tensor]:
        """See :class:`Backbone`."""
        for layer in self._adapted:
            layer.set_adapter(purpose)
        _all_trainable(self._adapted)
        rows, states, count, width = candidates.shape
        chain = max(len(one.states) for one in kept)
        pack = packing(chain - 1, states, count)
        x = self._halves.beside(kept, candidates.reshape(rows, -1, width).to(self._bos), pack)
        found = self._halves.upper(x, pack).float()
        return found[:, :chain], found[:, chain:].view(rows, states, count, width)


def _adapted_layers(config: Any, settings: EnvironmentSettings) -> int:
    depth: int = config.num_hidden_layers
    return depth if settings.top < 0 else min(settings.top, depth)


def _with_adapters(model: Any, settings: EnvironmentSettings) -> Any:
    """A frozen model with LoRA adapters in its upper layers: one set, or one for each purpose."""
    from peft import LoraConfig, inject_adapter_in_model

    config = model.config.get_text_config()
    depth, top = config.num_hidden_layers, _adapted_layers(config, settings)
    if not top:
        return model
    lora = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.lora_alpha,  # type: ignore[arg-type]  # fractions work as well
        lora_dropout=settings.dropout,
        target_modules=_targets(model, settings),
        layers_to_transform=list(range(depth - top, depth)),
    )
    try:
        # Into the whole model: peft looks for `.layers.N.`, with something before it, in the names.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Already found a `peft_config`")  # two sets are meant
            for name in ("default",) if settings.adapters == "shared" else (STATES, REWARDS):
                model = inject_adapter_in_model(lora, model, name)
    except ValueError as error:
        problem = " ".join(str(error).split())[:200]
        raise InputError("lea.environment.targets", f"peft refuses them ({problem})", "other layers") from error
    _all_trainable(_adapters_of(model))
    return model


def _targets(model: Any, settings: EnvironmentSettings) -> list[str]:
    """Suffixes of the names of linear layers; peft itself finds none where one set of adapters is there already."""
    from transformers.pytorch_utils import Conv1D

    found = adapter_targets(model, settings.targets, "lea.environment.targets")
    if isinstance(found, list):
        return found
    output = model.get_output_embeddings()
    layers = [name for name, one in model.named_modules() if isinstance(one, nn.Linear | Conv1D) and one is not output]
    return sorted({name.rpartition(".")[2] for name in layers})


def _adapters_of(model: Any) -> list[Any]:
    from peft.tuners.tuners_utils import BaseTunerLayer

    return [module for module in model.modules() if isinstance(module, BaseTunerLayer)]


def _all_trainable(layers: list[Any]) -> None:
    """Undo what peft does when it makes one adapter the active one: it freezes the others, whose gradient is then lost
    in the pass back.
    """
    for layer in layers:
        for name in layer.adapter_layer_names:
            getattr(layer, name).requires_grad_(True)


def adapters_size(config: Any, settings: EnvironmentSettings) -> int:
    """Number of parameters that the adapters of an LLM with this configuration (of transformers) have.

    Weights are neither read nor allocated.
    """
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config).requires_grad_(False)
        return trainable_size(_with_adapters(model, settings))


class GRUBackbone(nn.Module):
    """The control without an LLM: recurrent networks over fixed random vectors of the items' ids.

    Args:
        width: size of an item's vector and of a hidden state, d, as that of the LLM.
        trainable: parameters that the LLM's adapters have; the recurrent networks have about as many.
        dropout: dropout rate on their input and output.
        separate: one network for states and one for rewards.
    """

    def __init__(self, width: int, trainable: int, dropout: float, separate: bool = False) -> None:
        super().__init__()
        linear = 4 * width + 6  # parameters: 3 h² + (4 d + 6) h + d
        share = max(trainable // (1 + separate) - width, 0)
        size = max(1, round(((linear**2 + 12 * share) ** 0.5 - linear) / 6))
        names = (STATES, REWARDS) if separate else ("default",)
        self.gru = nn.ModuleDict({name: nn.GRU(width, size, batch_first=True) for name in names})
        self.out = nn.ModuleDict({name: nn.Linear(size, width) for name in names})
        self.dropout = nn.Dropout(dropout)
        self._width = width

    def bos(self) -> Tensor:
        """See :class:`Backbone`."""
        return next(self.parameters()).new_zeros(self._width)

    def keep(self, inputs: Tensor, lengths: list[int]) -> list[Any]:
        """See :class:`Backbone`."""
        return [row[:size] for row, size in zip(inputs, lengths, strict=True)]

    def hidden(self, kept: list[Tensor], candidates: Tensor, purpose: str) -> tuple[Tensor, Tensor]:
        """See :class:`Backbone`."""
        name = purpose if purpose in self.gru else "default"
        gru, out = self.gru[name], nn.Sequential(self.dropout, self.out[name])
        chain = gru(self.dropout(nn.utils.rnn.pad_sequence(kept, batch_first=True)))[0]
        rows, states, count, width = candidates.shape
        if not candidates.numel():
            return out(chain), candidates
        before = chain[:, 1 : states + 1, None].expand(-1, -1, count, -1).reshape(1, rows * states * count, -1)
        after = gru(self.dropout(candidates).reshape(-1, 1, width), before.contiguous())[0]
        return out(chain), out(after).view(rows, states, count, width)


def trainable_size(module: nn.Module) -> int:
    """Number of parameters that are trained."""
    return sum(weight.numel() for weight in module.parameters() if weight.requires_grad)
