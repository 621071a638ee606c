"""The self-attention block of the encoders, in plain PyTorch."""

from __future__ import annotations

from torch import Tensor, nn


class Block(nn.Module):
    """Self-attention block with pre-layer normalisation and a position-wise feed-forward network.

    Args:
        dim: width, d.
        heads: attention heads; must divide ``dim``.
        dropout: rate of dropout of the attention weights and of both branches, in training mode. With 0 no random
            number is drawn.
    """

    def __init__(self, dim: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm_in, self.norm_out = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.feed = nn.Sequential(nn.Linear(dim, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, dim))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """``(B, L, d)`` inputs, ``(B, 1, L, L) bool`` mask (True: may attend) -> ``(B, L, d)``."""
        batch, length, dim = x.shape
        qkv = self.qkv(self.norm_in(x)).view(batch, length, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        rate = self.dropout if self.training else 0.0
        y = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=rate)
        x = x + self._dropped(self.out(y.transpose(1, 2).reshape(batch, length, dim)))
        return x + self._dropped(self.feed(self.norm_out(x)))

    def _dropped(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, self.dropout, self.training) if self.dropout else x
