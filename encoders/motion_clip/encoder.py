"""``motionclip`` as a ``DualEncoder``: the published folder or one of our own training in, unit vectors out.

- The folder holds ``config.json``, ``pytorch_model.bin`` or ``model.safetensors``, ``mean.npy`` and ``std.npy`` [272].
- A ``.bin`` goes through torch's restricted loader (``weights_only``), which builds arrays and containers and nothing else.
- CLIP's text tower: its files in ``text/`` of the folder, or ``text_tower`` of config.json ("clip:FOLDER-OR-HUB-ID",
  "minilm"). Fine-tuned text weights in the checkpoint take the place of the tower's own.
- The forward pass of the published model is not published in a form we know: order of norms is ``norm_first`` of config.json.
  Whoever has the weights should run ``remora evaluate retrieval`` before trusting them.
"""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encoders.base import Embeddings, EncoderSpec
from encoders.errors import EncoderError, TextTowerError, WeightsError
from encoders.hub_towers import ClipTower
from encoders.motion_clip.model import FEATURES, MotionClipConfig, MotionTower, split_sides, tower_of
from encoders.text import TextTower, file_sha256, load_text_tower
from motion import SMPL_22, Clip, change_to_heading, resample, to_smpl22
from motion.features_272 import MOTION_272, encode_272

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
FRAMES_A_BATCH = 8192


def features_of(clip: Clip, heading: str) -> NDArray[np.float32]:
    """The 272 numbers [T, 272] of a clip at 30 frames per second, the heading told as the model reads it."""
    joints = clip.joints
    if clip.skeleton.name != SMPL_22.name:
        joints, _ = to_smpl22(clip.skeleton.names, clip.skeleton.parents, joints)
    joints = resample(joints, clip.fps, MOTION_272.fps)
    features = encode_272(joints if len(joints) > 1 else np.repeat(joints, 2, axis=0))
    return change_to_heading(features) if heading == "absolute" else features


class MotionClipEncoder:
    """Embeds clips and sentences with loaded weights."""

    def __init__(
        self,
        *,
        tower: MotionTower,
        mean: NDArray[np.float32],
        std: NDArray[np.float32],
        spec: EncoderSpec,
        device: str,
        text_source: str,
        text_state: Mapping[str, Tensor],
    ) -> None:
        self.spec = spec
        self._tower = tower.to(device).eval()
        self._mean, self._std, self._device = mean, std, device
        self._text_source, self._text_state = text_source, dict(text_state)
        self._text: TextTower | None = None

    def encode_motion(self, clips: Sequence[Clip]) -> Embeddings:
        """Embed clips of any supported skeleton and rate; whole [N, D], no parts. Frames beyond the tower's are not seen."""
        import torch

        from encoders.part_momentum.data import pad
        from encoders.part_momentum.encoder import length_batches

        config = self._tower.config
        features = [(features_of(c, config.heading)[: config.frames] - self._mean) / self._std for c in clips]
        whole = np.zeros((len(clips), self.spec.dim), np.float32)
        for rows in length_batches([len(x) for x in features], FRAMES_A_BATCH):
            x, mask = pad([features[i] for i in rows])
            with torch.inference_mode():
                whole[rows] = self._tower(x.to(self._device), mask.to(self._device)).float().cpu().numpy()
        bad = np.flatnonzero(~np.isfinite(whole).all(-1))
        if len(bad):
            clip = clips[int(bad[0])]
            raise EncoderError(
                f"clip {clip.clip_id or clip.source.take!r} has no finite embedding; check it for NaN frames"
            )
        return Embeddings(whole, np.zeros((len(clips), 0, self.spec.dim), np.float32))

    def encode_text(self, texts: Sequence[str]) -> Embeddings:
        """Embed sentences; whole [N, D], no parts."""
        vectors = self._text_tower().encode(texts)
        if vectors.shape[1] != self.spec.dim:
            raise TextTowerError(
                f"the text tower {self._text_source!r} has {vectors.shape[1]} dimensions, encoder {self.spec.name!r} has "
                f"{self.spec.dim}; name the tower it was trained with in config.json"
            )
        return Embeddings(np.asarray(vectors, np.float32), np.zeros((len(texts), 0, self.spec.dim), np.float32))

    def _text_tower(self) -> TextTower:
        if self._text is None:
            if not self._text_source:
                raise TextTowerError(
                    f"encoder {self.spec.name!r} has no text tower; put CLIP's (config.json, tokenizer files, "
                    "model.safetensors of openai/clip-vit-base-patch32) into its folder as text/, "
                    "or name it as text_tower in config.json"
                )
            tower = load_text_tower(self._text_source, self._device)
            if self._text_state and isinstance(tower, ClipTower):
                tower.replace_weights(self._text_state)
            self._text = tower
        return self._text


def load(folder: str, device: str) -> MotionClipEncoder:
    """The encoder in ``folder``; WeightsError names the file that is missing, damaged or of another architecture."""
    path = Path(folder)
    try:
        text = (path / "config.json").read_text(encoding="utf-8")
        data = json.loads(text)
        config = MotionClipConfig.parse(data.get("model", data))
    except (OSError, ValueError, AttributeError) as error:
        raise WeightsError(f"{path / 'config.json'} cannot be read ({error}); restore the folder") from error
    weights = next((path / name for name in WEIGHTS if (path / name).is_file()), None)
    if weights is None:
        raise WeightsError(f"{path} has neither {WEIGHTS[0]} nor {WEIGHTS[1]}; restore the folder")
    motion, text_state = split_sides(read_tensors(weights))
    text_state = {k: v for k, v in text_state.items() if v.dim() > 0}  # the temperature is of training only
    tower = tower_of(config, motion)
    mean, std = (_statistics(path / f"{name}.npy") for name in ("mean", "std"))
    source = f"clip:{path / 'text'}" if (path / "text").is_dir() else _source(config.text_tower)
    provenance = {
        "weights_sha256": file_sha256(weights), "config_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "normaliser_sha256": hashlib.sha256(mean.tobytes() + std.tobytes()).hexdigest(), "text_tower": source.partition(":")[0],
    }  # fmt: skip
    digest = hashlib.blake2b(repr(sorted(provenance.items())).encode(), digest_size=16).hexdigest()
    name = str(data.get("name", path.resolve().name))
    spec = EncoderSpec(name, config.dim, (), MOTION_272.name, MOTION_272.fps, digest, provenance)
    std = np.where(np.abs(std) < 1e-6, np.float32(1), std)
    return MotionClipEncoder(
        tower=tower, mean=mean, std=std, spec=spec, device=device, text_source=source, text_state=text_state
    )


def _source(name: str) -> str:
    """A tower as config.json calls it: ours, or a bare hub id of CLIP."""
    return name if not name or name == "minilm" or ":" in name else f"clip:{name}"


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The named tensors of a .safetensors or .bin file; nothing in it is executed.

    Raises:
        WeightsError: it is truncated, holds anything but named tensors, or asks for code.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found: Any = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
        found = found.get("state_dict", found)
        if not found or not all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in found.items()):
            raise ValueError("it holds other things than named tensors")
    except (
        OSError, RuntimeError, SafetensorError, pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError,
        AttributeError,
    ) as error:  # fmt: skip
        reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise WeightsError(
            f"{path} holds no readable weights ({reason}); download it again, as safetensors if you can"
        ) from error
    return dict(found)


def _statistics(path: Path) -> NDArray[np.float32]:
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise WeightsError(f"{path} cannot be read ({error}); restore the folder") from error
    if values.shape != (FEATURES,) or not np.isfinite(values).all():
        raise WeightsError(
            f"{path} has the shape {list(values.shape)}, expected [{FEATURES}] finite numbers; restore the folder"
        )
    return np.asarray(values, np.float32)
