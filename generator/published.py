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
import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from generator.errors import GeneratorError
from motion import FileFormatError
from motion.features import HUMANML3D_263, KIT_251, FeatureSpec
from motion.files.npz import read_npy_array

Array = NDArray[np.floating[Any]]

UNIT = 4  # frames a unit of movement
MAX_FRAMES = 196
CONTACTS = 4  # columns at the end that are not looked at
MAX_WORDS = 20  # of a caption, without its start and end
BATCH = 64  # clips or captions at a time
MAX_PICKLE_BYTES = 64 << 20

# Where the original folders have them: weights, then mean and std (the first folder that is there), then words.
WEIGHTS = ("text_mot_match/model/finest.tar", "text_mot_match/model/finest.safetensors")
STATISTICS = ("Comp_v6_KLD01/meta", "Comp_v6_KLD005/meta")
WORDS = ("our_vab_idx.pkl", "our_vab_words.json", "our_vab_words.txt")
HOW_TO_GET = (
    "get the evaluator and GloVe archives that the READMEs of github.com/EricGuo5513/text-to-motion and "
    "github.com/EricGuo5513/momask-codes (prepare/download_evaluator.sh, download_glove.sh) link to, and unpack them there"
)
DATA_SET_STD = 0.005  # of HumanML3D's yaw rate: the data set has .0128, the evaluator .0005 (twice divided by 5)


@dataclass(frozen=True)
class PublishedData:
    """A data set the evaluator was published for: its folder below ``checkpoints`` and its features."""

    folder: str
    features: FeatureSpec


DATA_SETS = {"humanml3d": PublishedData("t2m", HUMANML3D_263), "kit": PublishedData("kit", KIT_251)}

PARTS_OF_SPEECH = (
    "VERB", "NOUN", "DET", "ADP", "NUM", "AUX", "PRON", "ADJ", "ADV",
    "Loc_VIP", "Body_VIP", "Obj_VIP", "Act_VIP", "Desc_VIP", "OTHER",
)  # fmt: skip
# Words that are a class of their own, whatever part of speech they were tagged with.
WORD_CLASSES = {
    word: name
    for name, words in {
        "Loc_VIP": "left right clockwise counterclockwise anticlockwise forward back backward up down straight curve",
        "Body_VIP": "arm chin foot feet face hand mouth leg waist eye knee shoulder thigh",
        "Obj_VIP": "stair dumbbell chair window floor car ball handrail baseball basketball",
        "Act_VIP": "walk run swing pick bring kick put squat throw hop dance jump turn stumble stop sit lift lower raise wash "
        "stand kneel stroll rub bend balance flap jog shuffle lean rotate spin spread climb",
        "Desc_VIP": "slowly carefully fast careful slow quickly happy angry sad happily angrily sadly",
    }.items()
    for word in words.split()
}


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


class WordVectors:
    """GloVe vectors by word: ``words`` has the row of each in ``vectors`` [V, 300]; unknown words have that of "unk"."""

    def __init__(self, words: Mapping[str, int], vectors: Array) -> None:
        if "unk" not in words:
            raise GeneratorError(f"a vocabulary of {len(words)} words lacks 'unk', which stands for unknown words")
        outside = [word for word, row in words.items() if not 0 <= row < len(vectors)]
        if outside:
            raise GeneratorError(
                f"{len(outside)} words, first {outside[0]!r}, have no row among {len(vectors)} vectors; "
                "take both files from one archive"
            )
        self._words, self._vectors = dict(words), np.asarray(vectors, dtype=np.float32)

    @classmethod
    def load(cls, folder: Path) -> WordVectors:
        """``our_vab_data.npy`` [V, 300] and the words: the original ``our_vab_idx.pkl`` (word to row, read without running
        anything in it), ``our_vab_words.json`` (the same, or a list) or ``our_vab_words.txt`` (a line a row).

        Raises:
            GeneratorError: a file is missing or holds something else.
        """
        vectors = _read_array(folder / "our_vab_data.npy")
        if vectors.ndim != 2 or vectors.dtype.kind != "f" or not np.isfinite(vectors).all():
            raise GeneratorError(
                f"{folder / 'our_vab_data.npy'}: {vectors.dtype} of shape {vectors.shape}, not [V, 300]"
            )
        path = _first_of(folder, WORDS)
        found: object
        if path.suffix == ".pkl":
            found = read_plain_pickle(path)
        else:
            try:
                text = path.read_text(encoding="utf-8")
                found = json.loads(text) if path.suffix == ".json" else text.splitlines()
            except (OSError, ValueError, RecursionError) as error:
                raise GeneratorError(f"cannot read {path}: {error}; unpack it again") from error
        if isinstance(found, list):
            found = {word: row for row, word in enumerate(found)} if all(isinstance(w, str) for w in found) else None
        if not isinstance(found, dict) or not all(isinstance(w, str) and type(row) is int for w, row in found.items()):
            raise GeneratorError(f"{path}: not words with their rows; unpack it again")
        return cls(found, vectors)

    @property
    def dim(self) -> int:
        """Width of a word vector."""
        return int(self._vectors.shape[1])

    @property
    def fingerprint(self) -> str:
        """32 hex digits over words and vectors."""
        digest = hashlib.blake2b(json.dumps(self._words, sort_keys=True).encode(), digest_size=16)
        digest.update(self._vectors.tobytes())
        return digest.hexdigest()

    def encode(self, tokens: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.float32], int]:
        """Word vectors [22, 300], parts of speech [22, 15] and how many rows count, for tokens such as ``walk/VERB``.

        The first 20 tokens between "sos" and "eos". An unknown word is "unk" and OTHER, a part of speech that is not in
        :data:`PARTS_OF_SPEECH` is OTHER.
        """
        if isinstance(tokens, str) or not tokens:
            raise GeneratorError(f"tokens {tokens!r}: give a caption's list of word/POS, such as ['walk/VERB']")
        framed = ["sos/OTHER", *tokens[:MAX_WORDS], "eos/OTHER"]
        words = np.zeros((MAX_WORDS + 2, self.dim), np.float32)
        speech = np.zeros((MAX_WORDS + 2, len(PARTS_OF_SPEECH)), np.float32)
        for place, token in enumerate(framed):
            word, slash, tag = token.rpartition("/")
            if not slash:
                raise GeneratorError(f"token {token!r} has no part of speech; give word/POS, as HumanML3D's texts do")
            if word in self._words:
                tag = WORD_CLASSES.get(word, tag if tag in PARTS_OF_SPEECH else "OTHER")
            else:
                word, tag = "unk", "OTHER"
            words[place] = self._vectors[self._words[word]]
            speech[place, PARTS_OF_SPEECH.index(tag)] = 1
        return words, speech, len(framed)


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
        weights = _first_of(folder, WEIGHTS)
        statistics = statistics or _first_of(folder, [f"{name}/mean.npy" for name in STATISTICS]).parent
        evaluator = cls(
            features=data.features,
            mean=_read_array(statistics / "mean.npy"),
            std=_read_array(statistics / "std.npy"),
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


def read_plain_pickle(path: Path) -> object:
    """What a pickle of lists, dicts, texts and numbers holds. Anything that names a class or function is refused unread.

    Raises:
        GeneratorError: it is missing, too large, damaged, or holds anything else.
    """
    try:
        with path.open("rb") as stream:
            if path.stat().st_size > MAX_PICKLE_BYTES:
                raise GeneratorError(f"{path}: larger than {MAX_PICKLE_BYTES >> 20} MiB; this is no vocabulary")
            return _PlainUnpickler(stream).load()
    except (
        OSError, pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, ImportError,
        MemoryError, OverflowError, RecursionError,
    ) as error:  # fmt: skip
        raise GeneratorError(
            f"cannot read {path}: {error}; unpack it again, or write the words as .json or .txt"
        ) from error


class _PlainUnpickler(pickle.Unpickler):
    """Builds builtin containers, texts and numbers only: without a name to look up, a pickle cannot call anything."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(
            f"it asks for {module}.{name}, and only plain lists, dicts, texts and numbers are read"
        )


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


def _read_array(path: Path) -> NDArray[Any]:
    if not path.is_file():
        raise GeneratorError(f"{path} is missing; {HOW_TO_GET}")
    try:
        return read_npy_array(path)
    except FileFormatError as error:
        raise GeneratorError(str(error)) from error


def _first_of(folder: Path, names: Sequence[str]) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise GeneratorError(f"{folder} has no {' or '.join(names)}; {HOW_TO_GET}")


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
