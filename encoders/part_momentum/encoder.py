"""A trained part-momentum model as a ``DualEncoder``: a folder of safetensors and JSON in, unit vectors out.

- The folder holds ``model.safetensors`` (weights and normaliser), ``config.json`` and a model card; nothing is unpickled.
- Loading is strict: a missing, surplus or misshapen tensor is an error, never random weights.
- The sentence encoder is loaded on the first text, so that indexing motion does not wait for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from encoders.base import Embeddings, EncoderSpec
from encoders.errors import EncoderError, WeightsError
from encoders.part_momentum.config import ModelConfig, read_config
from encoders.text import TextTower, file_sha256, load_text_tower, sentence_inputs
from motion import Clip

if TYPE_CHECKING:
    from encoders.part_momentum.data import Normaliser
    from encoders.part_momentum.model import TextMotionModel

MAX_SECONDS = 30.0  # a clip is embedded up to here; longer takes are cut into spans before
FRAMES_A_BATCH = 8192


class PartMomentumEncoder:
    """Embeds clips and sentences with trained weights."""

    def __init__(
        self,
        *,
        model: TextMotionModel,
        normaliser: Normaliser,
        spec: EncoderSpec,
        device: str,
        tower: TextTower | None = None,
    ) -> None:
        from motion.features import part_features

        self.spec = spec
        self._config: ModelConfig = model.config
        self._model = model.to(device).eval()
        self._normaliser = normaliser
        self._features = part_features(model.config.features)
        self._device = device
        self._tower = tower

    def encode_motion(self, clips: Sequence[Clip]) -> Embeddings:
        """Embed clips of any length and rate (SMPL-22 joints); whole [N, D], parts [N, P, D]."""
        import torch

        from encoders.part_momentum.data import pad

        features = self._read(clips)
        whole = np.zeros((len(clips), self.spec.dim), dtype=np.float32)
        parts = np.zeros((len(clips), len(self.spec.parts), self.spec.dim), dtype=np.float32)
        for rows in length_batches([len(x) for x in features], FRAMES_A_BATCH):
            x, mask = pad([features[i] for i in rows])
            with torch.inference_mode():
                out = self._model.motion(x.to(self._device), mask.to(self._device))
            whole[rows] = out.whole.float().cpu().numpy()
            parts[rows] = out.parts.float().cpu().numpy()
        bad = np.flatnonzero(~np.isfinite(whole).all(-1))
        if len(bad):
            clip = clips[int(bad[0])]
            raise EncoderError(
                f"clip {clip.clip_id or clip.source.take!r} has no finite embedding; check its frames and the weights for NaN"
            )
        return Embeddings(whole, parts)

    def encode_motion_tokens(self, clips: Sequence[Clip]) -> list[NDArray[np.float32]]:
        """Unit vectors [n_i, P, D] of what each part of each clip does at every moment (see :mod:`tokens`).

        Raises:
            EncoderError: an encoder of the whole body.
        """
        import torch

        from encoders.part_momentum.data import pad
        from encoders.part_momentum.model import PartTowers
        from encoders.part_momentum.tokens import motion_tokens

        towers = self._model.motion
        if not isinstance(towers, PartTowers):
            raise EncoderError(f"encoder {self.spec.name!r} has no body parts, hence no moments of them")
        features = self._read(clips)
        found: list[NDArray[np.float32]] = [np.zeros((0, 0, 0), np.float32)] * len(clips)
        for rows in length_batches([len(x) for x in features], FRAMES_A_BATCH):
            x, mask = pad([features[i] for i in rows])
            with torch.inference_mode():
                tokens, real = motion_tokens(towers, x.to(self._device), mask.to(self._device))
            for row, own, there in zip(rows, tokens.float().cpu().numpy(), real.cpu().numpy(), strict=True):
                found[row] = own[there]
        return found

    def encode_words(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """Unit vectors [n_i, D] of each sentence's word pieces, without the special ones at both ends."""
        import torch

        from encoders.part_momentum.tokens import word_vectors

        tower = self._text_tower()
        _, cues = sentence_inputs(texts, tower.encode)
        _, words = tower.encode_words(texts)
        with torch.inference_mode():
            made = [
                word_vectors(
                    self._model.text,
                    torch.from_numpy(own[1:-1]).to(self._device),
                    torch.from_numpy(cue).to(self._device),
                )
                for own, cue in zip(words, cues, strict=True)
            ]
        return [vectors.float().cpu().numpy() for vectors in made]

    def _read(self, clips: Sequence[Clip]) -> list[NDArray[np.float32]]:
        """Normalised features [T_i, C] of the clips' first :data:`MAX_SECONDS`."""
        from encoders.part_momentum.data import clip_features

        limit = int(MAX_SECONDS * self._features.fps)
        return [self._normaliser(clip_features(clip, self._features))[:limit] for clip in clips]

    def encode_text(self, texts: Sequence[str]) -> Embeddings:
        """Embed sentences; whole [N, D], parts [N, P, D]: the same sentence as each body part would live it."""
        import torch

        tower = self._text_tower()
        sentence, cues = (torch.from_numpy(x).to(self._device) for x in sentence_inputs(texts, tower.encode))
        with torch.inference_mode():
            out = self._model.text(sentence, cues)
        whole, parts = out.whole.float().cpu().numpy(), out.parts.float().cpu().numpy()
        bad = np.flatnonzero(~(np.isfinite(whole).all(-1) & np.isfinite(parts).all((-2, -1))))
        if len(bad):
            raise EncoderError(
                f"the sentence {texts[int(bad[0])][:40]!r} has no finite embedding; the weights of {self.spec.name!r} are "
                "damaged, restore their folder"
            )
        return Embeddings(whole, parts)

    def _text_tower(self) -> TextTower:
        if self._tower is None:
            self._tower = load_text_tower(self._config.text_tower, self._device)
            expected = self.spec.provenance.get("text_tower_sha256", self._tower.fingerprint)
            if self._tower.fingerprint != expected:
                raise EncoderError(
                    f"encoder {self.spec.name!r} was trained with another text tower (expected {expected[:12]}..., "
                    f"found {self._tower.fingerprint[:12]}...); install the one it names: {self._config.text_tower}"
                )
        return self._tower


def length_batches(lengths: Sequence[int], frames: int) -> list[list[int]]:
    """Rows grouped by similar length so that a padded batch holds at most ``frames`` frames."""
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if batches and (len(batches[-1]) + 1) * lengths[row] <= frames:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


def load(folder: str, device: str) -> PartMomentumEncoder:
    """The encoder whose weights lie in ``folder``; WeightsError names the file that is missing or does not fit."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from encoders.part_momentum.data import Normaliser
    from encoders.part_momentum.model import TextMotionModel
    from motion.features import mirror_columns, part_features

    path = Path(folder)
    config = read_config(path / "config.json")
    weights = path / "model.safetensors"
    try:
        state = {key: tensor.float() for key, tensor in load_file(weights).items()}
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"cannot read {weights}: {error}; restore the folder or train again") from error
    try:
        normaliser = Normaliser(state.pop("normaliser.mean").numpy(), state.pop("normaliser.std").numpy())
    except KeyError as error:
        raise WeightsError(f"{weights} has no {error.args[0]}; it was not written by this trainer") from error
    signs = torch.from_numpy(mirror_columns(part_features(config.features)).signs)
    try:
        model = TextMotionModel(config, signs)
        model.load_state_dict(state, strict=True)
    except (RuntimeError, TypeError, ValueError, KeyError, ZeroDivisionError) as error:
        raise WeightsError(
            f"{weights} does not fit its config.json ({str(error).splitlines()[-1].strip()}); restore the folder"
        ) from error
    return PartMomentumEncoder(model=model, normaliser=normaliser, spec=read_spec(path, config), device=device)


def read_spec(folder: Path, config: ModelConfig) -> EncoderSpec:
    """Name, sizes and fingerprint of the weights in ``folder``, without loading them."""
    import json

    from motion.features import part_features

    text = (folder / "config.json").read_text(encoding="utf-8")
    data = json.loads(text)
    provenance: Mapping[str, str] = {
        "weights_sha256": file_sha256(folder / "model.safetensors"),
        "config_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "text_tower": config.text_tower,
        "text_tower_sha256": data.get("text_tower_sha256", ""),
    }
    if not data.get("name") or not provenance["text_tower_sha256"]:
        raise WeightsError(f"{folder / 'config.json'} names no encoder or no text tower; restore the folder")
    digest = hashlib.blake2b(repr(sorted(provenance.items())).encode(), digest_size=16).hexdigest()
    features = part_features(config.features)
    return EncoderSpec(data["name"], config.dim, config.parts, config.features, features.fps, digest, provenance)
