"""A multi-layer perceptron and its mixture of experts, as in CuMo's tower and connector."""

import torch
from torch import nn
import torch.nn.functional as F

from losses import balance_loss, z_loss


class QuickGelu(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


class ClipMlp(nn.Module):
    """One expert of the tower: `fc1`, quick GELU, `fc2`. [.., width] -> [.., width]."""

    def __init__(self, width, inner):
        super().__init__()
        self.fc1 = nn.Linear(width, inner)
        self.act = QuickGelu()
        self.fc2 = nn.Linear(inner, width)

    def forward(self, x):
        return self.fc2(self.act(self.fc1(x)))


def connector_mlp(width_in, width_out):
    """One expert of the connector: `0`, exact GELU, `2`. [.., width_in] -> [.., width_out]."""
    return nn.Sequential(nn.Linear(width_in, width_out), nn.GELU(), nn.Linear(width_out, width_out))


class Router(nn.Module):
    """Chooses k of the experts for every token; `gate` is the parent's linear layer.

    The last call's losses and choices stay in `balance`, `z` and `chosen` [tokens, k]."""

    def __init__(self, k):
        super().__init__()
        self.k = k
        self.negate = False  # a test: route every token to where it should not go
        self.balance = self.z = self.chosen = None

    def forward(self, logits):
        """logits [tokens, experts] -> weights [tokens, k] f32, chosen [tokens, k]."""
        if self.negate:
            logits = -logits
        p = F.softmax(logits, dim=-1, dtype=torch.float32)
        weights, chosen = p.topk(self.k, dim=-1)
        self.balance, self.z, self.chosen = balance_loss(p, chosen), z_loss(logits), chosen
        return weights / weights.sum(dim=-1, keepdim=True), chosen


class MoE(nn.Module):
    """y = sum over the chosen experts of weight * expert(x)."""

    def __init__(self, width_in, experts, k):
        super().__init__()
        self.gate = nn.Linear(width_in, len(experts), bias=False)
        self.experts = nn.ModuleList(experts)
        self.router = Router(k)

    def forward(self, x):
        """x [.., width_in] -> [.., width_out]."""
        tokens = x.reshape(-1, x.shape[-1])
        weights, chosen = self.router(self.gate(tokens))
        out = None
        for e, expert in enumerate(self.experts):
            row, nth = torch.where(chosen == e)
            y = expert(tokens[row])
            if out is None:
                out = y.new_zeros(len(tokens), y.shape[-1], dtype=torch.float32)
            out = out.index_add(0, row, weights[row, nth, None] * y)
        return out.reshape(*x.shape[:-1], -1)


def routers(model: nn.Module) -> dict[str, Router]:
    """The routers of a model by the name of their layer, those that ran only."""
    found = {n: m for n, m in model.named_modules() if isinstance(m, Router)}
    return {n.removesuffix(".router"): r for n, r in found.items() if r.chosen is not None}
