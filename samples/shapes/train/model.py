"""CuMo, small: tower, connector and language model under the names of its checkpoints."""

import torch
from torch import nn

from language import DecoderLayer, RmsNorm, rotation
from moe import MoE, connector_mlp
from vision import ClipTower, multiscale

LLM = {
    "vocab_size": 512,
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "scales": [1, 2],
    "num_experts": 4,
    "num_selected": 2,
}
CLIP = {
    "hidden_size": 96,
    "intermediate_size": 384,
    "num_attention_heads": 3,
    "num_hidden_layers": 4,
    "image_size": 84,
    "patch_size": 14,
    "layer_norm_eps": 1e-5,
}


class CuMo(nn.Module):
    """`experts` 0 builds the dense model that the experts are copied from."""

    def __init__(self, llm=LLM, clip=CLIP, experts=4):
        super().__init__()
        width, k = llm["hidden_size"], llm["num_selected"]
        features = clip["hidden_size"] * len(llm["scales"])
        self.scales, self.theta = llm["scales"], llm["rope_theta"]
        self.head_dim = width // llm["num_attention_heads"]
        self.model = nn.Module()
        self.model.vision_tower = nn.Module()
        self.model.vision_tower.vision_model = ClipTower(clip, experts, k)
        if experts:
            self.model.mm_projector = MoE(
                features, [connector_mlp(features, width) for _ in range(experts)], k
            )
        else:
            self.model.mm_projector = connector_mlp(features, width)
        self.model.embed_tokens = nn.Embedding(llm["vocab_size"], width)
        self.model.layers = nn.ModuleList(DecoderLayer(llm) for _ in range(llm["num_hidden_layers"]))
        self.model.norm = RmsNorm(width, llm["rms_norm_eps"])
        self.lm_head = nn.Linear(width, llm["vocab_size"], bias=False)

    def tower(self):
        return self.model.vision_tower.vision_model

    def image_features(self, pixels):
        """pixels [n, 3, S, S] -> [n, tokens, channels * scales] f32."""
        return multiscale(self.tower(), pixels, self.scales)

    def image_embeds(self, pixels):
        """pixels [n, 3, S, S] -> [n, tokens, hidden]."""
        return self.model.mm_projector(self.image_features(pixels))

    def hidden(self, embeds, positions, mask):
        """embeds [n, t, hidden], positions [n, t], mask [n, 1, t, t] to add -> [n, t, hidden]."""
        cos, sin = rotation(positions, self.head_dim, self.theta)
        for layer in self.model.layers:
            embeds = layer(embeds, cos, sin, mask)
        return self.model.norm(embeds)


def _name_in_checkpoint(name):
    """CuMo's tower layers hold `gate` and `experts` themselves; ours have a `moe` around them."""
    return name.replace(".moe.", ".")


def checkpoint_tensors(model: CuMo) -> dict[str, torch.Tensor]:
    """The model's tensors under the checkpoint's names."""
    return {_name_in_checkpoint(n): p.detach() for n, p in model.named_parameters()}


def load_checkpoint_tensors(model: CuMo, tensors: dict[str, torch.Tensor]):
    """The reverse, in f32; every tensor must be there and no other."""
    own = {_name_in_checkpoint(n): p for n, p in model.named_parameters()}
    if own.keys() != tensors.keys():
        raise ValueError(f"tensors differ: {sorted(own.keys() ^ tensors.keys())[:8]}")
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(tensors[name].float())


def initialise(model: CuMo):
    """Normal weights of 1/sqrt(fan_in); what is added to the residual stream smaller by
    sqrt(2 * layers); embeddings 0.3; head and gates 0.02."""
    for name, p in model.named_parameters():
        if p.ndim == 1:
            if name.endswith("bias"):
                nn.init.zeros_(p)
            elif name.endswith("class_embedding"):
                nn.init.normal_(p, std=0.3)
            continue
        std = p[0].numel() ** -0.5
        if "embed_tokens" in name or "position_embedding" in name:
            std = 0.3
        elif "lm_head" in name or name.endswith("gate.weight"):
            std = 0.02
        elif any(part in name for part in (".out_proj.", ".fc2.", ".o_proj.", ".down_proj.")):
            layers = len(model.tower().encoder.layers if "vision" in name else model.model.layers)
            std *= (2 * layers) ** -0.5
        nn.init.normal_(p, std=std)
