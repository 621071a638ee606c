"""Item tables of which an update touches some rows: sparse gradients, their optimizer, and a lagging target network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

TABLES = ("policy.encoder.items.id.weight", "policy.actor.bias", "critic.advantage.bias")
"""Parameters of :class:`.networks.ActorCritic` with a row per item."""


def make_optimizers(
    named: Iterable[tuple[str, nn.Parameter]], lr: float, weight_decay: float = 0.0
) -> list[torch.optim.Optimizer]:
    """Adam of the parameters, and where there are item tables SparseAdam of these, which leaves untouched rows alone.

    Args:
        named: parameters by their names in :class:`.networks.ActorCritic`.
        weight_decay: of the parameters without item tables, for which there is :func:`decay`.
    """
    named = list(named)
    dense = [parameter for name, parameter in named if name not in TABLES]
    tables = [parameter for name, parameter in named if name in TABLES]
    found: list[torch.optim.Optimizer] = (
        [torch.optim.Adam(dense, lr=lr, weight_decay=weight_decay, fused=True)] if dense else []
    )
    return [*found, *([torch.optim.SparseAdam(tables, lr=lr)] if tables else [])]


def clip(parameters: Iterable[Tensor], most: float) -> Tensor:
    """Scale gradients, dense and sparse ones, to a norm of at most ``most`` (0: as they are). Returns their norm."""
    values = []
    for parameter in parameters:
        if parameter.grad is None:
            continue
        if parameter.grad.is_sparse:
            parameter.grad = parameter.grad.coalesce()
            values.append(parameter.grad._values())
        else:
            values.append(parameter.grad)
    if not values:
        return torch.zeros(())
    norm: Tensor = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(value) for value in values]))
    if most and bool(norm > most):
        torch._foreach_mul_(values, float(most / (norm + 1e-6)))
    return norm


def decay(parameters: Iterable[Tensor], rate: float) -> None:
    """Add the gradient of an L2 penalty to touched rows, as Adam's ``weight_decay`` does to all."""
    for parameter in parameters:
        if rate and parameter.grad is not None and parameter.grad.is_sparse:
            gradient = parameter.grad = parameter.grad.coalesce()
            gradient._values().add_(parameter.detach()[gradient._indices()[0]], alpha=rate)


def restored(state: dict[int, dict[str, object]], optimizer: torch.optim.Optimizer) -> dict[int, dict[str, object]]:
    """Moments for ``load_state_dict``: SparseAdam computes with steps that are plain integers."""
    if not isinstance(optimizer, torch.optim.SparseAdam):
        return state
    return {index: {**one, "step": int(one["step"])} for index, one in state.items()}  # type: ignore[call-overload]


class Lag(nn.Module):
    r"""The item tables of a target network, of which only touched rows are moved.

    A target follows by :math:`t \leftarrow t + \rho (o - t)` after each update. While a row o of the online network
    stays as it is, n such steps are :math:`t \leftarrow o + (1 - \rho)^n (t - o)`: they are made together, before the
    row is read, or o moves.

    Attributes:
        clock: updates so far.
        last: ``(3, I + 1) int32``, per table and row the update up to which it has followed; -1: it was never touched,
            and is equal to the online row.
        coverage, mass: of :func:`.shortlists.staleness` before the latest rebuild; NaN before the first.
    """

    def __init__(self, n_items: int, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.register_buffer("clock", torch.zeros((), dtype=torch.int64))
        self.register_buffer("last", torch.full((len(TABLES), n_items + 1 if rate else 0), -1, dtype=torch.int32))
        self.register_buffer("coverage", torch.full((), torch.nan))
        self.register_buffer("mass", torch.full((), torch.nan))
        self.clock: Tensor
        self.last: Tensor
        self.coverage: Tensor
        self.mass: Tensor

    @torch.no_grad()
    def follow(self, target: nn.Module, online: nn.Module, items: Tensor) -> None:
        """Let the rows ``items``, of any shape, of all tables follow up to now."""
        for slow, own, last in zip(tables_of(target), tables_of(online), self.last, strict=True):
            self._follow(slow, own, last, items.reshape(-1))

    @torch.no_grad()
    def before_step(self, target: nn.Module, online: nn.Module, optimizers: Iterable[torch.optim.Optimizer]) -> None:
        """Before optimizers move rows: those of the gradients follow up to now, and will follow from now on."""
        moved = {id(p) for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}
        for slow, own, last in zip(tables_of(target), tables_of(online), self.last, strict=True):
            if id(own) in moved and own.grad is not None:
                touched = own.grad.coalesce()._indices()[0]
                self._follow(slow, own, last, touched)
                last[touched] = self.clock.to(last.dtype)

    def _follow(self, slow: Tensor, own: Tensor, last: Tensor, items: Tensor) -> None:
        behind = items[(last[items] >= 0) & (last[items] < self.clock)]
        if len(behind):
            left = (1 - self.rate) ** (self.clock - last[behind])
            left = left.to(slow.dtype)[(...,) + (None,) * (slow.ndim - 1)]
            slow[behind] = torch.lerp(own[behind], slow[behind], left)
            last[behind] = self.clock.to(last.dtype)


def tables_of(network: nn.Module) -> Sequence[Tensor]:
    """The parameters :data:`TABLES` of an actor-critic."""
    assert isinstance(network.policy, nn.Module) and isinstance(network.critic, nn.Module)
    return [network.get_parameter(name) for name in TABLES]
