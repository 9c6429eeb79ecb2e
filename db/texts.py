"""Captions as words: which captions say some words, and how well they fit, by BM25.

- A caption is one document; a clip is as good as its best caption. Only captions of live clips count, so that an
  answer does not depend on what was deleted and not yet compacted.
- Words are runs of letters and digits, in lower case, without the endings of English verbs and plurals: "waves",
  "waved" and "waving" are one word. No stop words: rare words weigh more by themselves.
- The formula is Lucene's form of BM25 (Robertson and Zaragoza 2009; k1 = 1.2, b = 0.75):
  sum over words of log(1 + (N - n + .5) / (n + .5)) * tf / (tf + k1 (1 - b + b length / mean length)).
- The table of words is made when the first question comes, by Arrow and numpy: about 2 s a million captions.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

K1 = 1.2
B = 0.75
_NO_WORD = r"[^\p{L}\p{N}]+"
_WORD = re.compile(r"[^\W_]+")
_VOWEL = re.compile("[aeiouy]")


def stem(word: str) -> str:
    """A word without its English ending: waves, waved, waving -> wav; carries, carried -> carry; running -> run."""
    for ending, instead in (("ies", "y"), ("ied", "y"), ("sses", "ss"), ("ing", ""), ("ed", ""), ("es", ""), ("s", "")):
        root = word.removesuffix(ending)
        if root != word and len(root) >= 3 - bool(instead) and _VOWEL.search(root) and not word.endswith("ss"):
            word = root + instead
            if ending in ("ing", "ed") and word[-1] == word[-2:-1] and word[-1] not in "lsz":
                word = word[:-1]
            break
    return word[:-1] if len(word) > 3 and word.endswith("e") else word


def words_of(text: str) -> list[str]:
    """The words of a question, as captions are read."""
    return [stem(word) for word in _WORD.findall(text.lower())]


class Captions:
    """All captions [C] of a version: their texts, the row of the clip of each, ascending, and which clips are live."""

    def __init__(self, texts: pa.ChunkedArray, owners: NDArray[np.int64], live: NDArray[np.bool_]) -> None:
        self.texts = texts
        self.owners = owners
        self.live = live

    def __len__(self) -> int:
        return len(self.owners)

    def rows_with(self, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Clips [N] that have any of the ``chosen`` [C] captions."""
        out = np.zeros(len(self.live), bool)
        out[self.owners[chosen]] = True
        return out

    def saying(self, text: str) -> NDArray[np.bool_]:
        """Clips [N] with a caption that has all words of ``text``."""
        said = np.ones(len(self), bool)
        for word in words_of(text):
            own = np.zeros(len(self), bool)
            own[self._postings(word)[0]] = True
            said &= own
        return self.rows_with(said)

    def scores(self, text: str) -> NDArray[np.float32]:
        """BM25 [N] of each clip's best caption; 0 where no word of ``text`` is said of it."""
        total = np.zeros(len(self))
        lengths, documents = self._lengths, max(int(self.live[self.owners].sum()), 1)
        mean = max(lengths.sum() / documents, 1e-9)
        for word in sorted(set(words_of(text))):
            found, times = self._postings(word)
            weight = np.log(1 + (documents - len(found) + 0.5) / (len(found) + 0.5))
            total[found] += weight * times / (times + K1 * (1 - B + B * lengths[found] / mean))
        out = np.zeros(len(self.live))
        np.maximum.at(out, self.owners, total)
        return out.astype(np.float32)

    def _postings(self, word: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Captions that have a word, and how often."""
        vocabulary, starts, documents, times, _ = self._table
        number = vocabulary.get(word)
        if number is None:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        own = slice(starts[number], starts[number + 1])
        return documents[own], times[own]

    @property
    def _lengths(self) -> NDArray[np.int64]:
        """Words of each caption."""
        return self._table[4]

    @cached_property
    def _table(
        self,
    ) -> tuple[dict[str, int], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Number of each word, the start of its captions, the captions, how often it is in each, and the length of
        captions.
        """
        import pyarrow.compute as pc

        texts = pc.fill_null(self.texts.combine_chunks(), "")
        lists = pc.split_pattern_regex(pc.utf8_lower(texts), _NO_WORD)
        spoken, place = pc.list_flatten(lists), np.asarray(pc.list_parent_indices(lists)).astype(np.int64)
        real = (np.asarray(pc.utf8_length(spoken)) > 0) & self.live[self.owners[place]]
        coded = pc.dictionary_encode(spoken.combine_chunks() if hasattr(spoken, "chunks") else spoken)
        stems = [stem(word) for word in coded.dictionary.to_pylist()]
        vocabulary = {word: number for number, word in enumerate(dict.fromkeys(stems))}
        to_stem = np.array([vocabulary[word] for word in stems], np.int64)
        numbers = to_stem[np.asarray(coded.indices)[real]] if len(stems) else np.zeros(0, np.int64)
        place = place[real]
        pairs, times = np.unique(numbers * max(len(self), 1) + place, return_counts=True)
        terms, documents = np.divmod(pairs, max(len(self), 1))
        starts = np.searchsorted(terms, np.arange(len(vocabulary) + 1))
        return vocabulary, starts, documents, times, np.bincount(place, minlength=len(self))
