"""The published evaluator of text-to-motion (Guo et al., CVPR 2022): sentences and features to one space of 512 dimensions.

- Parameter names and layouts are those of the published ``finest.tar``, which loads strictly; it is never unpickled freely
  (torch's weights-only reader, or safetensors), and neither is the vocabulary.
- Features come in as the data set has them (263 or 251, metres, no normalisation) and are normalised here, with the
  evaluator's own mean and std: the data set's would shift every figure, and are refused where they can be told apart.
- Lengths come in as frames and become units of four frames in one place (:func:`_units`). To divide twice, as some forks do,
  shows the evaluator the first quarter of the movement only.
- Rows come out in the order they went in (the source sorts by length), and do not depend on what else is in the batch:
  every clip is followed by zeros up to 196 frames, as in the source. The zeros count: the last unit looks one row past its
  clip, so a clip padded differently has a different embedding.
- The source starts a clip at a random frame and shortens every third by a unit; here a clip starts at its first frame and
  loses at most three at its end, so that a clip has one embedding. Which clips and captions take part (in the source 40 to
  199 frames, KIT from 24, one random caption each) is the caller's choice.
- Foot contacts, the last four columns, are not looked at.

Source: EricGuo5513/text-to-motion ``networks/modules.py``, ``networks/evaluator_wrapper.py``, ``data/dataset.py``;
EricGuo5513/momask-codes ``utils/word_vectorizer.py`` (classes of words).
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from generator.errors import GeneratorError
from generator.words import HOW_TO_GET, PARTS_OF_SPEECH, WordVectors, first_of, read_array
from motion.features import HUMANML3D_263, KIT_251, FeatureSpec

Array = NDArray[np.floating[Any]]

UNIT = 4  # frames a unit of movement
MAX_FRAMES = 196
CONTACTS = 4  # columns at the end that are not looked at
BATCH = 64  # clips or captions at a time

# Where the original folder has them: weights, then mean and std (the first folder that is there).
WEIGHTS = ("text_mot_match/model/finest.tar", "text_mot_match/model/finest.safetensors")
STATISTICS = ("Comp_v6_KLD01/meta", "Comp_v6_KLD005/meta")
DATA_SET_STD = 0.005  # of HumanML3D's yaw rate: the data set has .0128, the evaluator .0005 (twice divided by 5)


@dataclass(frozen=True)
class PublishedData:
    """A data set the evaluator was published for: its folder below ``checkpoints`` and its features."""

    folder: str
    features: FeatureSpec


DATA_SETS = {"humanml3d": PublishedData("t2m", HUMANML3D_263), "kit": PublishedData("kit", KIT_251)}


class MovementEncoder(nn.Module):
    """Frames [B, T, C] to units [B, T / 4, 512]: two convolutions of stride 2."""

    def __init__(self, input_size: int, hidden_size: int = 512, output_size: int = 512) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv1d(input_size, hidden_size, kernel_size=4, stride=2, padding=1),
            nn.Dropout(0.2),
            nn.LeakyReLU(0.2),
            nn.Conv1d(hidden_size, output_size, kernel_size=4, stride=2, padding=1),
            nn.Dropout(0.2),
            nn.LeakyReLU(0.2),
        )
        self.out_net = nn.Linear(output_size, output_size)

    def forward(self, frames: Tensor) -> Tensor:
        """Units of movement."""
        return cast(Tensor, self.out_net(self.main(frames.transpose(1, 2)).transpose(1, 2)))


class SequenceEncoder(nn.Module):
    """Sequences [B, S, D] with lengths [B] to vectors [B, 512]: the two last states of a GRU that reads both ways."""

    def __init__(self, input_size: int, hidden_size: int, output_size: int = 512) -> None:
        super().__init__()
        self.input_emb = nn.Linear(input_size, hidden_size)
        self.gru = nn.GRU(hidden_size, hidden_size, batch_first=True, bidirectional=True)
        self.output_net = nn.Sequential(
            nn.Linear(2 * hidden_size, hidden_size),
            nn.LayerNorm(hidden_size),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden_size, output_size),
        )
        self.hidden = nn.Parameter(torch.zeros(2, 1, hidden_size))

    def forward(self, sequence: Tensor, lengths: Tensor) -> Tensor:
        """Vectors in the order of the sequences; what lies beyond a sequence's length is not read."""
        packed = pack_padded_sequence(self.input_emb(sequence), lengths.cpu(), batch_first=True, enforce_sorted=False)
        _, last = self.gru(packed, self.hidden.repeat(1, len(sequence), 1))
        return cast(Tensor, self.output_net(torch.cat([last[0], last[1]], dim=-1)))


class TextEncoder(SequenceEncoder):
    """Word vectors [B, W, 300] and parts of speech, one-hot [B, W, 15], to vectors [B, 512]."""

    def __init__(self, word_size: int = 300, hidden_size: int = 512, output_size: int = 512) -> None:
        super().__init__(word_size, hidden_size, output_size)
        self.pos_emb = nn.Linear(len(PARTS_OF_SPEECH), word_size)

    def embed(self, words: Tensor, speech: Tensor, lengths: Tensor) -> Tensor:
        """Vectors in the order of the captions."""
        return cast(Tensor, self(words + self.pos_emb(speech), lengths))


class PublishedEvaluator(nn.Module):
    """The evaluator of one data set: ``encode_motion`` and ``encode_text`` give rows of one space, to be compared by distance.

    ``fingerprint`` names weights, normaliser and vocabulary together: a figure should carry it.
    """

    def __init__(self, *, features: FeatureSpec, mean: Array, std: Array, words: WordVectors) -> None:
        super().__init__()
        _check_statistics(mean, std, features)
        self.features, self.words = features, words
        self.movement_encoder = MovementEncoder(features.dim - CONTACTS)
        self.motion_encoder = SequenceEncoder(512, hidden_size=1024)
        self.text_encoder = TextEncoder(words.dim)
        self.mean, self.std = mean.astype(np.float64), std.astype(np.float64)
        self.fingerprint = ""

    @classmethod
    def load(
        cls, root: Path, dataset: str = "humanml3d", *, statistics: Path | None = None, device: str = "cpu"
    ) -> PublishedEvaluator:
        """The evaluator in ``root``, laid out as published.

        ``root/checkpoints/t2m`` (KIT: ``kit``) with ``text_mot_match/model/finest.tar`` and ``Comp_v6_KLD01/meta`` or
        ``Comp_v6_KLD005/meta`` (mean.npy, std.npy), ``root/glove`` with :class:`WordVectors`.

        Args:
            root: the folder of both archives.
            dataset: a name in :data:`DATA_SETS`.
            statistics: another folder with the evaluator's mean.npy and std.npy.
            device: where it computes, as torch names it.

        Raises:
            GeneratorError: something is missing, damaged, or of another model; the message says what and where to get it.
        """
        if dataset not in DATA_SETS:
            raise GeneratorError(f"there is no published evaluator for {dataset!r}; use {' or '.join(DATA_SETS)}")
        data = DATA_SETS[dataset]
        folder = root / "checkpoints" / data.folder
        weights = first_of(folder, WEIGHTS)
        statistics = statistics or first_of(folder, [f"{name}/mean.npy" for name in STATISTICS]).parent
        evaluator = cls(
            features=data.features,
            mean=read_array(statistics / "mean.npy"),
            std=read_array(statistics / "std.npy"),
            words=WordVectors.load(root / "glove"),
        )
        for name, state in _read_weights(weights).items():
            try:
                evaluator.get_submodule(name).load_state_dict(state, strict=True)
            except RuntimeError as error:
                reason = str(error).splitlines()[-1].strip()
                raise GeneratorError(
                    f"{weights}: {name} is not that of {dataset}'s evaluator ({reason}); {HOW_TO_GET}"
                ) from error
        evaluator.fingerprint = evaluator._hash()
        return evaluator.to(device).eval()

    @torch.inference_mode()
    def encode_motion(self, motions: Sequence[Array]) -> NDArray[np.float32]:
        """Embeddings [N, 512] of features ``[T_i, C]`` as the data set has them (not normalised), 4 to 199 rows each.

        Raises:
            GeneratorError: a motion of another width or length, or one that is not finite.
        """
        for index, motion in enumerate(motions):
            self._check_motion(np.asarray(motion), index)
        found = []
        for start in range(0, len(motions), BATCH):
            batch = motions[start : start + BATCH]
            units = _units([len(motion) for motion in batch])
            frames = np.zeros((len(batch), MAX_FRAMES, self.features.dim), np.float32)
            for row, motion, length in zip(frames, batch, (units * UNIT).tolist(), strict=True):
                row[:length] = (np.asarray(motion)[:length] - self.mean) / self.std
            movement = self.movement_encoder(self._placed(frames[..., :-CONTACTS]))
            found.append(self.motion_encoder(movement, units).cpu().numpy())
        return np.concatenate(found) if found else np.zeros((0, 512), np.float32)

    @torch.inference_mode()
    def encode_text(self, captions: Sequence[Sequence[str]]) -> NDArray[np.float32]:
        """Embeddings [N, 512] of captions given as tokens, ``["a/DET", "man/NOUN", ...]`` (``Caption.tokens``).

        Raises:
            GeneratorError: a caption without tokens, or a token without its part of speech.
        """
        found = []
        for start in range(0, len(captions), BATCH):
            encoded = [self.words.encode(tokens) for tokens in captions[start : start + BATCH]]
            words, speech, lengths = zip(*encoded, strict=True)
            placed = self._placed(np.stack(words)), self._placed(np.stack(speech))
            found.append(self.text_encoder.embed(*placed, torch.tensor(lengths)).cpu().numpy())
        return np.concatenate(found) if found else np.zeros((0, 512), np.float32)

    def _placed(self, values: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(values).to(self.motion_encoder.hidden.device)

    def _check_motion(self, motion: Array, index: int) -> None:
        if motion.ndim != 2 or motion.shape[1] != self.features.dim:
            raise GeneratorError(
                f"motion {index} has shape {motion.shape}, not [T, {self.features.dim}] as {self.features.name}"
            )
        if not UNIT <= len(motion) < MAX_FRAMES + UNIT:
            raise GeneratorError(
                f"motion {index} has {len(motion)} frames; the evaluator reads {UNIT} to {MAX_FRAMES + UNIT - 1}, cut it first"
            )
        if not np.isfinite(motion).all():
            raise GeneratorError(f"motion {index} is not finite; look at what made it")

    def _hash(self) -> str:
        digest = hashlib.blake2b(digest_size=16)
        for key, value in sorted(self.state_dict().items()):
            digest.update(key.encode() + value.cpu().contiguous().numpy().tobytes())
        digest.update(self.mean.tobytes() + self.std.tobytes() + self.words.fingerprint.encode())
        return digest.hexdigest()


def _units(frames: Sequence[int]) -> Tensor:
    """Lengths in units [B] of lengths in frames: the only place that divides by four."""
    return torch.tensor(frames) // UNIT


def _read_weights(path: Path) -> dict[str, dict[str, Tensor]]:
    """The parameters of the three encoders by the names the checkpoint gives them."""
    names = ("movement_encoder", "motion_encoder", "text_encoder")
    try:
        if path.suffix == ".safetensors":
            flat = load_file(path)
            found: Any = {n: {k[len(n) + 1 :]: v for k, v in flat.items() if k.startswith(f"{n}.")} for n in names}
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
        states = {name: dict(found[name]) for name in names}
        if not all(
            isinstance(key, str) and isinstance(value, Tensor) for s in states.values() for key, value in s.items()
        ):
            raise ValueError("entries that are not named arrays")
        return states
    except (
        OSError, RuntimeError, SafetensorError, pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError,
        IndexError, AttributeError,
    ) as error:  # fmt: skip
        reason = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise GeneratorError(f"{path} holds no weights of the published evaluator ({reason}); {HOW_TO_GET}") from error


def _check_statistics(mean: Array, std: Array, features: FeatureSpec) -> None:
    """GeneratorError unless mean and std can be the evaluator's own."""
    for name, values in (("mean", mean), ("std", std)):
        if values.shape != (features.dim,) or values.dtype.kind != "f" or not np.isfinite(values).all():
            raise GeneratorError(
                f"the evaluator's {name} is {values.dtype} of shape {values.shape}, not {features.dim} finite numbers"
            )
    if (std <= 0).any():
        raise GeneratorError(
            f"the evaluator's std has {int((std <= 0).sum())} columns that are not above 0; {HOW_TO_GET}"
        )
    if features is HUMANML3D_263 and std[0] > DATA_SET_STD:
        raise GeneratorError(
            f"std of the yaw rate is {std[0]:.4f}: these are the data set's mean and std, not the evaluator's (about .0005); "
            "use mean.npy and std.npy of its meta folder"
        )
