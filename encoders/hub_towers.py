"""Text towers read through transformers: from a local folder, or from a hub only when the user names a hub id.

- ``SentenceTower``: an encoder that averages its token states (all-mpnet-base-v2 and its kin).
- ``ClipTower``: CLIP's text tower, projected end-of-text state; it can be tuned, and written as the ordinary folder it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encoders.errors import TextTowerError
from encoders.pooling import by_length, in_order, pooled_and_words, unit_mean

if TYPE_CHECKING:
    import torch


class HubTower:
    """What both share: tokenizer and complete weights of ``source``, loaded by transformers' own classes."""

    def __init__(
        self, source: str, device: str, *, what: str, tokenizer: Any, model: Any, spare: Sequence[str]
    ) -> None:
        from transformers.utils import logging

        # Its load report names buffers that are not weights, its progress bar lasts a blink: neither is for the user.
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        local = Path(source).is_dir()
        try:
            self._tokenizer = tokenizer.from_pretrained(source, local_files_only=local)
            loaded, report = model.from_pretrained(
                source, local_files_only=local, use_safetensors=True, output_loading_info=True
            )
        except (OSError, ValueError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise TextTowerError(
                f"cannot read {what} from {source!r} ({reason}); give a folder with config.json, tokenizer files and "
                "model.safetensors, or a hub id while online"
            ) from error
        missing = sorted(key for key in report["missing_keys"] if not any(name in key for name in spare))
        if missing:
            raise TextTowerError(f"the weights at {source!r} lack {', '.join(missing[:3])}; use complete weights")
        self._model = loaded.to(device).eval()
        self._device = device
        self._max_tokens = int(loaded.config.max_position_embeddings)
        self.fingerprint = _state_sha256(loaded.state_dict())

    def _tokens(self, texts: Sequence[str]) -> Any:
        return self._tokenizer(
            list(texts), padding=True, truncation=True, max_length=self._max_tokens, return_tensors="pt"
        ).to(self._device)


class SentenceTower(HubTower):
    """Any sentence encoder that averages its token states, unit length."""

    def __init__(self, source: str, device: str = "cpu") -> None:
        from transformers import AutoModel, AutoTokenizer

        super().__init__(
            source, device, what="a sentence encoder", tokenizer=AutoTokenizer, model=AutoModel,
            spare=("position_ids", "pooler"),
        )  # fmt: skip
        self.name = f"sentence:{source}"
        self.dim = int(self._model.config.hidden_size)
        self._max_tokens = min(int(self._tokenizer.model_max_length), self._max_tokens - 2)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors [N, dim]."""
        return self.encode_words(texts)[0]

    def encode_words(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """Unit vectors [N, dim], and the states [n_i, dim] of each sentence's pieces, the special ones included."""
        return pooled_and_words(texts, self._states, self.dim)

    def _states(self, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        import torch

        tokens = self._tokens(texts)
        with torch.inference_mode():
            states = self._model(**tokens).last_hidden_state
        return unit_mean(states, tokens["attention_mask"]), states, tokens["attention_mask"]


class ClipTower(HubTower):
    """CLIP's text tower: projected end-of-text state, unit length; 77 tokens for the published one, the rest is cut."""

    def __init__(self, source: str, device: str = "cpu") -> None:
        from transformers import CLIPTextModelWithProjection, CLIPTokenizerFast

        super().__init__(
            source, device, what="a CLIP text tower", tokenizer=CLIPTokenizerFast, model=CLIPTextModelWithProjection,
            spare=("position_ids",),
        )  # fmt: skip
        self.name = f"clip:{source}"
        self.dim = int(self._model.config.projection_dim)

    @property
    def module(self) -> torch.nn.Module:
        """What can be trained."""
        model: torch.nn.Module = self._model
        return model

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors [N, dim]."""
        import torch

        with torch.inference_mode():
            batches = [(rows, self.embed([texts[i] for i in rows])) for rows in by_length(texts, 64)]
        return in_order(batches, len(texts), self.dim)

    def encode_words(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """Unit vectors [N, dim], and the states [n_i, width] of each sentence's pieces, start and end of text included."""
        return pooled_and_words(texts, self._states, self.dim)

    def _states(self, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        import torch

        tokens = self._tokens(texts)
        with torch.inference_mode():
            out = self._model(**tokens)
        return torch.nn.functional.normalize(out.text_embeds, dim=-1), out.last_hidden_state, tokens["attention_mask"]

    def embed(self, texts: Sequence[str]) -> torch.Tensor:
        """Unit vectors [N, dim] that carry gradients."""
        import torch

        return torch.nn.functional.normalize(self._model(**self._tokens(texts)).text_embeds, dim=-1)

    def save(self, folder: Path) -> None:
        """Write an ordinary transformers folder: config.json, tokenizer files, model.safetensors."""
        self._tokenizer.save_pretrained(folder)
        self._model.save_pretrained(folder)

    def replace_weights(self, state: Mapping[str, torch.Tensor]) -> None:
        """Put a fine-tuned text tower's tensors in the place of the tower's own; keys of other towers are left alone.

        Raises:
            TextTowerError: there are some of a text tower, but not all, or of other sizes.
        """
        own = self._model.state_dict()
        found = {}
        for key, tensor in state.items():
            name = key[key.index("text_model.") :] if "text_model." in key else key
            name = "text_projection.weight" if name.endswith("text_projection.weight") else name
            if name in own:
                found[name] = tensor
        absent = [name for name in own if name not in found and "position_ids" not in name]
        wrong = [name for name, tensor in found.items() if tensor.shape != own[name].shape]
        if found and (absent or wrong):
            raise TextTowerError(
                f"the checkpoint's text tower does not fit {self.name}: {', '.join((absent + wrong)[:3])}; "
                "name the tower it was tuned from"
            )
        if found:
            self._model.load_state_dict(found, strict=False)
            self.fingerprint = _state_sha256(self._model.state_dict())


def _state_sha256(state: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for key in sorted(state):
        digest.update(key.encode())
        digest.update(np.ascontiguousarray(state[key].detach().float().cpu().numpy()).tobytes())
    return digest.hexdigest()
