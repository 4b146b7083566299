"""A training-only head on the tower's features: every token names what lies in its cell, and
which cell that is. Alone it stands for CLIP's pretraining; beside the language loss it keeps the
features' meaning. A head that reads a cell's four tokens together leaves each of them with a part
of the answer, and the language model then learns slowly."""

from torch import nn
import torch.nn.functional as F

from model import CLIP, LLM
from scenes import COLOURS, PLACES, SHAPES, SIZES

SPLITS = [1 + len(SHAPES), len(COLOURS), len(SIZES), len(PLACES)]


class CellHead(nn.Module):
    """features [n, 36, channels] -> logits [n, 9, 4, shapes + colours + sizes + places]: the 2 x 2
    tokens of each cell."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(CLIP["hidden_size"] * len(LLM["scales"]), sum(SPLITS))
        nn.init.normal_(self.linear.weight, std=0.02)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features):
        n, _, channels = features.shape
        cells = features.view(n, 3, 2, 3, 2, channels).permute(0, 1, 3, 2, 4, 5)
        return self.linear(cells.reshape(n, 9, 4, channels))


def cell_loss(logits, cells):
    """logits [n, 9, 4, sum(SPLITS)], cells [n, 9, 4] -> the loss, and the share of tokens that name
    everything right."""
    loss, right = 0.0, True
    for i, part in enumerate(logits.float().split(SPLITS, dim=-1)):
        label = cells[..., i, None].expand(-1, -1, 4)
        loss = loss + F.cross_entropy(part.flatten(0, 2), label.flatten(), ignore_index=-100)
        right = right & ((part.argmax(-1) == label) | (label == -100))
    return loss, right.float().mean().item()
