"""The two losses that keep a router in shape, with CuMo's weights.

Balance: Switch Transformer (arXiv 2101.03961), eq. 4, over the top-k choices.
z: ST-MoE (arXiv 2202.08906), eq. 5. CuMo (arXiv 2405.05949, section 3.3) adds both to the
language loss, for the tower and for the connector.
"""

import torch
import torch.nn.functional as F

BALANCE_WEIGHT = 0.1
Z_WEIGHT = 0.01


def balance_loss(probabilities: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """probabilities [tokens, experts], chosen [tokens, k] -> a number; 1 when every expert gets
    the same share of choices and of probability."""
    experts = probabilities.shape[-1]
    share = F.one_hot(chosen, experts).float().mean(dim=(0, 1))
    return experts * (share * probabilities.mean(dim=0)).sum()


def z_loss(logits: torch.Tensor) -> torch.Tensor:
    """logits [tokens, experts] -> a number: keeps the logits small."""
    return torch.logsumexp(logits.float(), dim=-1).square().mean()
