"""BERT's encoder in torch's own layers: what the sentence tower needs of it, without seconds of imports.

- Post-norm layers with GELU over word, position and segment embeddings: ``torch.nn.TransformerEncoder`` computes just that.
  Importing the library that usually reads such weights costs more than twice what torch itself does, at every question.
- Weights are read from safetensors under the names the published checkpoints use; a missing or misshapen one is an error.

Source: Devlin et al. 2019, BERT; held against ``transformers.BertModel`` by the tests.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from encoders.errors import TextTowerError


class Bert(nn.Module):
    """Token ids [B, n] and their mask [B, n] (1 real, 0 padding) to states [B, n, D]; one segment, no pooler."""

    def __init__(
        self, *, words: int, positions: int, segments: int, dim: int, layers: int, heads: int, inner: int, eps: float
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(words, dim)
        self.positions = nn.Embedding(positions, dim)
        self.segments = nn.Embedding(segments, dim)
        self.norm = nn.LayerNorm(dim, eps=eps)
        layer = nn.TransformerEncoderLayer(
            dim, heads, inner, dropout=0.0, activation="gelu", layer_norm_eps=eps, batch_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """States [B, n, D]; those of padding mean nothing."""
        places = torch.arange(ids.shape[1], device=ids.device)
        embedded = self.words(ids) + self.positions(places) + self.segments.weight[0]
        states: Tensor = self.encoder(self.norm(embedded), src_key_padding_mask=mask == 0)
        return states


def load_bert(folder: Path) -> Bert:
    """The encoder of ``config.json`` and ``model.safetensors`` in ``folder``, in evaluation mode.

    Raises:
        TextTowerError: a file is missing or damaged, or is of another architecture.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if config["hidden_act"] != "gelu" or config.get("position_embedding_type", "absolute") != "absolute":
            raise TextTowerError(f"{folder}: a BERT of another make; only GELU and absolute positions are read")
        model = Bert(
            words=config["vocab_size"], positions=config["max_position_embeddings"],
            segments=config["type_vocab_size"], dim=config["hidden_size"], layers=config["num_hidden_layers"],
            heads=config["num_attention_heads"], inner=config["intermediate_size"], eps=config["layer_norm_eps"],
        )  # fmt: skip
        weights = load_file(folder / "model.safetensors")
        model.load_state_dict(_renamed(weights, config["num_hidden_layers"]), strict=True, assign=True)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise TextTowerError(f"{folder}: no readable BERT weights ({error}); install the package again") from error
    return model.eval()


def _renamed(weights: dict[str, Tensor], layers: int) -> dict[str, Tensor]:
    """Published names to those of torch's layers; query, key and value become one matrix."""
    pairs = {
        "words": "embeddings.word_embeddings", "positions": "embeddings.position_embeddings",
        "segments": "embeddings.token_type_embeddings", "norm": "embeddings.LayerNorm",
    }  # fmt: skip
    named = {"self_attn.out_proj": "attention.output.dense", "norm1": "attention.output.LayerNorm"}
    named |= {"linear1": "intermediate.dense", "linear2": "output.dense", "norm2": "output.LayerNorm"}
    out: dict[str, Tensor] = {}
    for layer in range(layers):
        ours, theirs = f"encoder.layers.{layer}", f"encoder.layer.{layer}"
        pairs |= {f"{ours}.{own}": f"{theirs}.{other}" for own, other in named.items()}
        for kind in ("weight", "bias"):
            stacked = [weights[f"{theirs}.attention.self.{name}.{kind}"] for name in ("query", "key", "value")]
            out[f"{ours}.self_attn.in_proj_{kind}"] = torch.cat(stacked)
    for own, other in pairs.items():
        for kind in ("weight", "bias"):
            if f"{other}.{kind}" in weights:
                out[f"{own}.{kind}"] = weights[f"{other}.{kind}"]
    return out
