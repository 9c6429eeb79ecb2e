"""Words as the published evaluator reads them: GloVe vectors, parts of speech, and files that are never unpickled freely.

Source: EricGuo5513/text-to-motion and EricGuo5513/momask-codes ``utils/word_vectorizer.py`` (classes of words).
"""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from generator.errors import GeneratorError
from motion import FileFormatError
from motion.files.npz import read_npy_array

Array = NDArray[np.floating[Any]]

MAX_WORDS = 20  # of a caption, without its start and end
MAX_PICKLE_BYTES = 64 << 20
WORDS = ("our_vab_idx.pkl", "our_vab_words.json", "our_vab_words.txt")
HOW_TO_GET = (
    "get the evaluator and GloVe archives that the READMEs of github.com/EricGuo5513/text-to-motion and "
    "github.com/EricGuo5513/momask-codes (prepare/download_evaluator.sh, download_glove.sh) link to, and unpack them there"
)

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
        vectors = read_array(folder / "our_vab_data.npy")
        if vectors.ndim != 2 or vectors.dtype.kind != "f" or not np.isfinite(vectors).all():
            raise GeneratorError(
                f"{folder / 'our_vab_data.npy'}: {vectors.dtype} of shape {vectors.shape}, not [V, 300]"
            )
        path = first_of(folder, WORDS)
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


def read_array(path: Path) -> NDArray[Any]:
    """The array of a .npy file; GeneratorError where there is none."""
    if not path.is_file():
        raise GeneratorError(f"{path} is missing; {HOW_TO_GET}")
    try:
        return read_npy_array(path)
    except FileFormatError as error:
        raise GeneratorError(str(error)) from error


def first_of(folder: Path, names: Sequence[str]) -> Path:
    """The first of ``names`` that is in ``folder``; GeneratorError where none is."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise GeneratorError(f"{folder} has no {' or '.join(names)}; {HOW_TO_GET}")
