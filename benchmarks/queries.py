"""Quality of composed questions and of relevance feedback on held-out clips.

python -m benchmarks.queries --data FOLDER [--fit-on val] [--split test] [--encoder NAME|DIR]

- Composed: a clip of some action in one style, and the words "STYLE style" of another: right are clips of the same action in
  that style. Asked by the clip alone, by its words alone, and by a blend of both unit vectors; the share of words is chosen
  on ``--fit-on`` and judged on ``--split``.
- Feedback: a new wording of a class is asked; of the first ten hits the right ones are "more like this", the wrong ones "less"
  (Rocchio, 1 / 0.75 / 0.25). Measured on the clips that were not shown, before and after.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoders import DualEncoder, load_encoder
from motion import Clip
from retriever import protocols
from retriever.pairs import read_split
from retriever.questions import paraphrases

SHARES = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
SHOWN = 10
Array = NDArray[np.float32]


def embed(encoder: DualEncoder, clips: list[Clip]) -> Array:
    return np.concatenate([encoder.encode_motion(clips[i : i + 256]).whole for i in range(0, len(clips), 256)])


def unit(vectors: Array) -> Array:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def composed(encoder: DualEncoder, clips: list[Clip], motions: Array) -> dict[float, NDArray[np.float64]]:
    """Average precision of every (clip, other style) question, by share of words."""
    styled = [i for i, c in enumerate(clips) if c.labels.get("style") and c.labels.get("class_id")]
    label = [(clips[i].source.dataset, clips[i].labels["class_id"], clips[i].labels["style"]) for i in styled]
    own = motions[styled]
    first = {name: i for i, name in reversed(list(enumerate(label)))}
    asked = [(row, other) for name, row in first.items() for other in first if other[:2] == name[:2] and other != name]
    words = unit(encoder.encode_text([f"{other[2]} style" for _, other in asked]).whole)
    right = np.array([[name == other for name in label] for _, other in asked])
    found = {}
    for share in SHARES:
        query = unit((1 - share) * own[[row for row, _ in asked]] + share * words)
        scores = query @ own.T
        scores[np.arange(len(asked)), [row for row, _ in asked]] = -2  # the clip itself is no answer
        found[share] = protocols.average_precision(scores, right)
    return found


def feedback(encoder: DualEncoder, clips: list[Clip], motions: Array) -> tuple[Array, Array]:
    """Average precision on clips not shown, before and after one round, of every new wording."""
    classes = np.array([c.labels.get("class_id", "") for c in clips], object)
    asked = [(name, sentence) for name, sentence in paraphrases() if (classes == name).sum() > 1]
    texts = encoder.encode_text([sentence for _, sentence in asked]).whole
    before, after = [], []
    for (name, _), text in zip(asked, texts, strict=True):
        right = classes == name
        shown = np.argsort(-(motions @ text), kind="stable")[:SHOWN]
        rest = np.setdiff1d(np.arange(len(clips)), shown)
        if not right[rest].any():
            continue
        query = text.copy()
        if right[shown].any():
            query = query + 0.75 * motions[shown[right[shown]]].mean(axis=0)
        if (~right[shown]).any():
            query = query - 0.25 * motions[shown[~right[shown]]].mean(axis=0)
        for vector, into in ((text, before), (query, after)):
            into.append(protocols.average_precision((motions[rest] @ vector)[None], right[rest][None])[0])
    return np.array(before), np.array(after)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--fit-on", default="val")
    parser.add_argument("--split", default="test")
    parser.add_argument("--encoder")
    chosen = parser.parse_args()
    encoder = load_encoder(chosen.encoder)
    kept: dict[str, tuple[list[Clip], Array]] = {}
    for split in (chosen.fit_on, chosen.split):
        clips = read_split(chosen.data, split, None).clips
        kept[split] = clips, embed(encoder, clips)
    fitted = composed(encoder, *kept[chosen.fit_on])
    share = max(fitted, key=lambda name: float(fitted[name].mean()))
    found = composed(encoder, *kept[chosen.split])
    print(f"{encoder.spec.name}, {chosen.data.name}; share of words {share}, chosen on {chosen.fit_on}")
    for name, values in (("clip alone", found[0.0]), ("words alone", found[1.0]), ("both", found[share])):
        span = protocols.bootstrap(values)
        print(f"composed, {name}: mAP {span.value:.3f} [{span.low:.3f}, {span.high:.3f}], {len(values)} questions")
    print(f"composed, {chosen.fit_on}: " + ", ".join(f"{s:g}: {v.mean():.3f}" for s, v in fitted.items()))
    before, after = feedback(encoder, *kept[chosen.split])
    gain = protocols.bootstrap(after - before)
    print(
        f"feedback on the first {SHOWN}, clips not shown: mAP {before.mean():.3f} -> {after.mean():.3f}, "
        f"difference {gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}], {len(before)} questions"
    )


if __name__ == "__main__":
    main()
