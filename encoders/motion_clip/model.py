"""The motion tower of ``motionclip``, and how tensors of a foreign checkpoint find their place in it.

- A transformer over frames: linear input, class token, learned positions, layers, norm, projection. What a checkpoint has not
  (class token, positions, final norm) the tower does without; then it averages over real frames.
- Names in published checkpoints are not documented. Known spellings are unified first; what is left is placed by shape where
  exactly one tensor fits. Everything must find a place, on both sides: a gap is an error that names it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoders.errors import WeightsError

FEATURES = 272
_ALIASES = {  # our field: what others call it
    "width": ("hidden_size", "hidden_dim", "d_model", "model_dim"),
    "layers": ("num_layers", "n_layers", "num_hidden_layers", "depth"),
    "heads": ("num_heads", "n_heads", "num_attention_heads", "nhead"),
    "dim": ("embed_dim", "projection_dim", "output_dim", "latent_dim", "embedding_dim"),
    "frames": ("max_frames", "max_len", "max_length", "max_seq_len", "max_motion_length", "max_position_embeddings"),
    "text_tower": ("clip_model", "text_model", "clip_model_name", "text_encoder"),
}  # fmt: skip


@dataclass(frozen=True)
class MotionClipConfig:
    """Sizes of the tower; ``heading``: whether columns 2:8 hold the heading itself or its change."""

    architecture: str = "motionclip"
    width: int = 768
    layers: int = 8
    heads: int = 12
    dim: int = 512
    frames: int = 1024
    feed_forward: int = 3072
    norm_first: bool = True
    heading: str = "absolute"
    text_tower: str = ""

    @classmethod
    def parse(cls, data: Mapping[str, object]) -> MotionClipConfig:
        """From our own JSON or from a published one, whose names for the same sizes are known in part."""
        known = {field.name: type(field.default) for field in fields(cls)}
        found = {name: data[name] for name in known if name in data}
        for name, aliases in _ALIASES.items():
            told = [data[alias] for alias in aliases if alias in data]
            if told:
                found.setdefault(name, told[0])
        for name, value in found.items():
            if not isinstance(value, known[name]) or (known[name] is int and isinstance(value, bool)):
                raise WeightsError(
                    f"config.json: {name} is {value!r}, expected a {known[name].__name__}; restore the file"
                )
        config = cls(**found)  # type: ignore[arg-type]
        if min(config.width, config.layers, config.heads, config.dim, config.frames) < 1 or config.width % config.heads:
            raise WeightsError(
                f"config.json: {config.heads} heads do not divide a width of {config.width}; restore the file"
            )
        return config


class MotionTower(nn.Module):
    """Features [B, T, 272] to unit vectors [B, D]."""

    def __init__(self, config: MotionClipConfig, *, cls: bool = True, position: bool = True, norm: bool = True) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.input = nn.Linear(FEATURES, width)
        self.cls = nn.Parameter(torch.randn(1, 1, width) * 0.02) if cls else None
        self.position = nn.Parameter(torch.randn(1, config.frames + int(cls), width) * 0.02) if position else None
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, config.heads, config.feed_forward, 0.1, "gelu", batch_first=True, norm_first=config.norm_first
            )
            for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(width) if norm else None
        self.projection = nn.Linear(width, config.dim)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """``features`` [B, T, 272] normalised, ``mask`` [B, T] True where a frame is real; T at most ``frames``."""
        x = self.input(features)
        if self.cls is not None:
            x = torch.cat([self.cls.expand(len(x), -1, -1), x], dim=1)
            mask = F.pad(mask, (1, 0), value=True)
        if self.position is not None:
            x = x + self.position[:, : x.shape[1]]
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=~mask)
        if self.norm is not None:
            x = self.norm(x)
        weights = mask[..., None].to(x.dtype)
        pooled = x[:, 0] if self.cls is not None else (x * weights).sum(1) / weights.sum(1)
        return F.normalize(self.projection(pooled), dim=-1)


_SPELLINGS = tuple(
    (re.compile(pattern), ours)
    for pattern, ours in (
        (r"^(?:(?:module|model)\.)+", ""),
        (r"^(?:motion_encoder|motion_tower|motion_model|motion)\.", ""),
        (r"^(?:transformer_encoder|transformer|encoder)\.(?=layers|blocks|resblocks|layer|h\.)", ""),
        (r"^(?:layers|blocks|resblocks|layer|h)\.(\d+)\.", r"layers.\1."),
        (r"\.(?:self_attn|attn|attention|self_attention)\.", ".self_attn."),
        (r"self_attn\.(?:in_proj|qkv)[._](weight|bias)$", r"self_attn.in_proj_\1"),
        (r"self_attn\.(?:proj|out_proj|c_proj|o_proj)\.", "self_attn.out_proj."),
        (r"\.(?:mlp\.0|mlp\.fc1|mlp\.c_fc|fc1|ffn\.0|ff\.0)\.", ".linear1."),
        (r"\.(?:mlp\.[23]|mlp\.fc2|mlp\.c_proj|fc2|ffn\.[23]|ff\.[23])\.", ".linear2."),
        (r"\.(?:ln_?|layer_?norm)([12])\.", r".norm\1."),
        (r"^(?:input_proj|input_projection|motion_embed|embedding|embed|proj_in|input_linear)\.", "input."),
        (
            r"^(?:output_proj|output_projection|out_proj|motion_projection|motion_proj|projection_head|proj|head|proj_out)\.",
            "projection.",
        ),
        (r"^(?:cls_token|class_token|class_embedding)$", "cls"),
        (
            r"^(?:pos_embed|pos_embedding|position_embedding|positional_embedding|pos_encoder\.pe)(?:\.weight)?$",
            "position",
        ),
        (r"^(?:final_norm|ln_f|ln_final|ln_post|post_layernorm|layer_norm)\.", "norm."),
    )
)
_TEXT = re.compile(
    r"(?:^|\.)(?:text_model|text_projection|text_encoder|clip|clip_model|logit_scale|vision_model|visual_projection)(?:\.|$)"
)


def split_sides(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A checkpoint as tensors of the motion tower, and of CLIP (and the temperature), keys as they are."""
    text = {key for key in state if _TEXT.search(key)}
    return {k: v for k, v in state.items() if k not in text}, {k: v for k, v in state.items() if k in text}


def tower_of(config: MotionClipConfig, state: Mapping[str, Tensor]) -> MotionTower:
    """The tower with the tensors of ``state``, whatever they are called.

    Raises:
        WeightsError: a tensor finds no place, or a place no tensor.
    """
    named = _joined(_unified(state))
    first = named.get("layers.0.linear1.weight")
    if first is not None:
        config = MotionClipConfig(**{**vars(config), "feed_forward": len(first)})
    optional = {
        "cls": "cls" in named, "position": "position" in named, "norm": "norm.weight" in named,
    }  # fmt: skip
    model = MotionTower(config, **optional)
    wanted = model.state_dict()
    placed = {name: _shaped(name, named.pop(name), wanted[name]) for name in list(named) if name in wanted}
    for name in [n for n in wanted if n not in placed]:
        fitting = [other for other, tensor in named.items() if tensor.shape == wanted[name].shape]
        same = [n for n in wanted if n not in placed and wanted[n].shape == wanted[name].shape]
        if len(fitting) == 1 and len(same) == 1:
            placed[name] = named.pop(fitting[0])
    absent = [name for name in wanted if name not in placed]
    if absent or named:
        raise WeightsError(
            f"these are no weights of a motionclip tower of {config.layers} layers, {config.width} wide: "
            f"{len(absent)} places stay empty ({', '.join(absent[:3])}), "
            f"{len(named)} tensors have no place ({', '.join(list(named)[:3])}); "
            "check config.json, or train one with remora train motionclip"
        )
    model.load_state_dict(placed)
    return model


def _unified(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    named = {}
    for key, tensor in state.items():
        name = key
        for pattern, ours in _SPELLINGS:
            name = pattern.sub(ours, name)
        named[name] = tensor.float()
    return named


def _joined(named: dict[str, Tensor]) -> dict[str, Tensor]:
    """Separate projections of query, key and value become one, in that order."""
    for name in [n for n in named if re.search(r"self_attn\.(?:q|query)(?:_proj)?\.(?:weight|bias)$", n)]:
        head, _, kind = name.rpartition(".")
        stem, _, query = head.rpartition(".")
        others = {"q_proj": ("k_proj", "v_proj"), "query": ("key", "value"), "q": ("k", "v")}[query]
        keys = [name, *(f"{stem}.{other}.{kind}" for other in others)]
        if all(key in named for key in keys):
            named[f"{stem}.in_proj_{kind}"] = torch.cat([named.pop(key) for key in keys])
    return named


def _shaped(name: str, tensor: Tensor, wanted: Tensor) -> Tensor:
    """``tensor`` in the shape of its place; WeightsError where it has other sizes."""
    if name == "position" and tensor.dim() == 3 and tensor.shape[1] == 1:
        tensor = tensor.transpose(0, 1)  # [L, 1, W], as sinusoidal tables are kept
    if tensor.numel() != wanted.numel():
        raise WeightsError(
            f"{name} has the shape {list(tensor.shape)}, config.json asks for {list(wanted.shape)}; they do not belong together"
        )
    return tensor.reshape(wanted.shape)
