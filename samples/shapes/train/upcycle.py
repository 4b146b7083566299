"""Co-upcycling (CuMo, section 3.2): every expert starts as a copy of the dense stage's MLP.

Exact copies of a small model stay close to each other: after the MoE stage they differ from
their mean by 7 to 8 %, and a wrong router costs 2 points. So each copy gets noise, in units of
each matrix's own standard deviation, and the stage then trains long enough to be rid of it."""

import torch

from model import CuMo


def upcycle(dense: CuMo, experts: int, noise: float, seed: int) -> CuMo:
    """The MoE model: dense tensors, noisy copies as experts, gates of 0.02."""
    generator = torch.Generator().manual_seed(seed)
    model = CuMo(experts=experts)
    source = dict(dense.named_parameters())
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("gate.weight"):
                p.copy_(0.02 * torch.randn(p.shape, generator=generator))
                continue
            head, mark, tail = name.partition("experts.")
            if not mark:
                p.copy_(source[name])
                continue
            p.copy_(source[head.replace(".moe.", ".mlp.") + tail.partition(".")[2]])
            if p.ndim == 2:
                p.add_(noise * p.std() * torch.randn(p.shape, generator=generator))
    return model
