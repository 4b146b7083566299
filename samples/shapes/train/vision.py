"""CLIP's vision tower with CuMo's experts, run at several scales."""

import torch
from torch import nn
import torch.nn.functional as F

from moe import ClipMlp, MoE


def attend(q, k, v, mask=None):
    """q [.., t, d], k and v [.., s, d], mask [.., t, s] to add -> [.., t, d]. Written out:
    the fused kernel's backward pass is slow on CPUs. q is scaled by the caller."""
    scores = q @ k.transpose(-1, -2)
    if mask is not None:
        scores = scores + mask.to(scores.dtype)
    return F.softmax(scores, dim=-1) @ v


class ClipAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.q_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x):
        """x [crops, tokens, width] -> the same."""
        n, t, width = x.shape
        split = lambda y: y.view(n, t, self.heads, -1).transpose(1, 2)
        scale = (width // self.heads) ** -0.5
        y = attend(split(self.q_proj(x) * scale), split(self.k_proj(x)), split(self.v_proj(x)))
        return self.out_proj(y.transpose(1, 2).reshape(n, t, width))


class ClipLayer(nn.Module):
    """Dense (`mlp`) when there are no experts, else `gate` and `experts` as in CuMo."""

    def __init__(self, clip, experts, k):
        super().__init__()
        width, inner = clip["hidden_size"], clip["intermediate_size"]
        self.self_attn = ClipAttention(width, clip["num_attention_heads"])
        self.layer_norm1 = nn.LayerNorm(width, clip["layer_norm_eps"])
        self.layer_norm2 = nn.LayerNorm(width, clip["layer_norm_eps"])
        if experts:
            self.moe = MoE(width, [ClipMlp(width, inner) for _ in range(experts)], k)
        else:
            self.mlp = ClipMlp(width, inner)

    def forward(self, x):
        x = x + self.self_attn(self.layer_norm1(x))
        block = self.moe if hasattr(self, "moe") else self.mlp
        return x + block(self.layer_norm2(x))


class Embeddings(nn.Module):
    def __init__(self, clip):
        super().__init__()
        width, patch = clip["hidden_size"], clip["patch_size"]
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.patch_embedding = nn.Conv2d(3, width, patch, patch, bias=False)
        self.position_embedding = nn.Embedding((clip["image_size"] // patch) ** 2 + 1, width)

    def forward(self, crops):
        """crops [n, 3, S, S] -> [n, 1 + tokens, width], class token first."""
        patches = self.patch_embedding(crops).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(len(crops), 1, -1).to(patches.dtype)
        return torch.cat([first, patches], dim=1) + self.position_embedding.weight


class ClipTower(nn.Module):
    """The state before the last layer, without the class token (`mm_vision_select_layer` -2).
    The last layer is in the checkpoint, as in CuMo's, and never used; there is no
    `post_layernorm`."""

    def __init__(self, clip, experts, k):
        super().__init__()
        width = clip["hidden_size"]
        self.grid = clip["image_size"] // clip["patch_size"]
        self.embeddings = Embeddings(clip)
        self.pre_layrnorm = nn.LayerNorm(width, clip["layer_norm_eps"])
        self.encoder = nn.Module()
        self.encoder.layers = nn.ModuleList(
            ClipLayer(clip, experts, k) for _ in range(clip["num_hidden_layers"])
        )

    def forward(self, crops):
        """crops [n, 3, S, S] -> [n, tokens, width]."""
        x = self.pre_layrnorm(self.embeddings(crops))
        for layer in self.encoder.layers[:-1]:
            x = layer(x)
        return x[:, 1:]


def crops_of(pixels, scale):
    """pixels [n, 3, S, S] -> [scale^2 * n, 3, S, S]: crop i of every image, then crop i + 1,
    crops in reading order, of the pixels enlarged by `scale` (bicubic, f32)."""
    if scale == 1:
        return pixels
    side = pixels.shape[-1]
    large = F.interpolate(pixels.float(), scale_factor=scale, mode="bicubic", align_corners=False)
    rows = large.split(side, dim=2)
    return torch.cat([crop for row in rows for crop in row.split(side, dim=3)])


def multiscale(tower: ClipTower, pixels, scales):
    """pixels [n, 3, S, S] -> [n, tokens, width * scales]. One batch of all crops; a larger
    scale's grids are put together again and averaged to the tower's own grid, in f32."""
    n, g = len(pixels), tower.grid
    states = tower(torch.cat([crops_of(pixels, s) for s in scales]))
    parts = []
    for s, part in zip(scales, states.split([s * s * n for s in scales])):
        width = part.shape[-1]
        if s > 1:
            grid = part.float().view(s, s, n, g, g, width).permute(2, 5, 0, 3, 1, 4)
            grid = F.avg_pool2d(grid.reshape(n, width, s * g, s * g), s)
            part = grid.flatten(2).transpose(1, 2)
        parts.append(part.float())
    return torch.cat(parts, dim=-1)
