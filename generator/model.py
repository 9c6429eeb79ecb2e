"""The generator as one thing: sentences and exemplars in, motion out.

- Exemplars come in as plain clips with their score: who retrieved them is not its business.
- Every prompt has its own seed, length and exemplars; the result does not depend on which others are made beside it.
- Frames are decoded, given reference bones again, and the feet cleaned where that helps; the raw motion is kept beside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from encoders.text import TextTower, load_text_tower
from generator.conditions import Exemplar, Sentence, encode_sentences, stack
from generator.errors import GeneratorError
from generator.exemplars import ExemplarClip, Retrieval, chosen
from generator.frames import clip_to_frames, frames_to_joints, same_size, smoothed
from generator.length import LengthConfig, LengthEstimator, quantile
from generator.masked import MaskedConfig, MaskedTransformer
from generator.residual import ResidualConfig, ResidualTransformer
from generator.sampling import UNKNOWN, Progress, Sampling, sample_tokens
from generator.tokenizer import Tokenizer
from generator.weights import check_fingerprint, fingerprint, from_json, load_model, load_tokenizer, read_config
from motion import Caption, Clip, Source

SHORTEST_S, LONGEST_S = 1.0, 9.8  # seconds: what the models have seen
SMOOTHING = 1.0  # frames, deviation: tokens meet with a jolt; more makes feet glide
DEFAULT_GENERATOR = "rag-masked-small"
_SHIPPED = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class Prompt:
    """What is wanted. ``seconds`` None: estimated; ``known``: tokens [R, N, levels] to keep, -1 where to be made."""

    text: str
    seconds: float | None = None
    seed: int = 0
    exemplars: tuple[ExemplarClip, ...] = ()
    known: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Generated:
    """One new motion: ``clip`` with clean feet and reference bones, ``raw`` joints [T, J, 3] as decoded, how it was made."""

    prompt: Prompt
    clip: Clip
    raw: NDArray[np.float32]
    frames: NDArray[np.float32]  # [T, C] as decoded
    tokens: NDArray[np.int16]  # [R, N, levels]
    exemplars: tuple[ExemplarClip, ...] = ()  # those it has read
    seconds_estimated: tuple[float, float, float] | None = None  # 10 %, median, 90 % of the length estimate
    notes: dict[str, object] = field(default_factory=dict)


class Generator:
    """Tokenizer, transformers and length estimator of one folder of weights."""

    def __init__(
        self,
        *,
        tokenizer: Tokenizer,
        masked: MaskedTransformer,
        residual: ResidualTransformer,
        length: LengthEstimator,
        retrieval: Retrieval,
        text_tower: str | TextTower,
        name: str,
        fingerprint: str,
        device: str = "cpu",
    ) -> None:
        self.tokenizer = tokenizer.to(device).eval()
        self.masked = masked.to(device).eval()
        self.residual = residual.to(device).eval()
        self.length = length.to(device).eval()
        self.retrieval, self.name, self.fingerprint, self.device = retrieval, name, fingerprint, device
        self.spec = tokenizer.frames
        self._tower = text_tower

    @property
    def tower(self) -> TextTower:
        """The sentence encoder, loaded on first use."""
        if isinstance(self._tower, str):
            self._tower = load_text_tower(self._tower, self.device)
        return self._tower

    @property
    def token_s(self) -> float:
        """Seconds of a token."""
        return self.tokenizer.config.patch / self.spec.fps

    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        sampling: Sampling | None = None,
        batch: int = 32,
        progress: Progress | None = None,
    ) -> Iterator[Generated]:
        """New motions, in the order of the prompts, batch by batch.

        Raises:
            GeneratorError: a prompt is empty, or a length is out of range.
        """
        for prompt in prompts:
            check(prompt)
        for start in range(0, len(prompts), batch):
            yield from self._batch(prompts[start : start + batch], sampling or Sampling(), progress)

    def _batch(self, prompts: Sequence[Prompt], sampling: Sampling, progress: Progress | None) -> Iterator[Generated]:
        sentences = encode_sentences(self.tower, [p.text for p in prompts])
        off = sampling.guidance.retrieval_scale == 0
        used = [() if off else chosen(p.exemplars, self.retrieval, p.seconds) for p in prompts]
        read = self._read(used)
        counts, estimates = self._lengths(prompts, sentences, read)
        conditions = stack(sentences, read, shape=self.tokenizer.exemplar_shape).to(self.device)
        known = torch.full(
            (len(prompts), len(self.tokenizer.config.rows), max(counts), self.tokenizer.config.levels), UNKNOWN
        )
        for row, prompt in enumerate(prompts):
            if prompt.known is not None:
                known[row, :, : prompt.known.shape[1]] = torch.from_numpy(np.asarray(prompt.known, np.int64))
        valid = torch.arange(max(counts))[None] < torch.tensor(counts)[:, None]
        ids = sample_tokens(
            self.masked, self.residual, self.tokenizer, conditions, known.to(self.device), valid.to(self.device),
            seeds=[p.seed for p in prompts], sampling=sampling, progress=progress,
        )  # fmt: skip
        tokens = [ids[i, :, :n].cpu().numpy().astype(np.int16) for i, n in enumerate(counts)]
        for i, frames in enumerate(self.tokenizer.decode_ids(tokens)):
            yield self.finish(prompts[i], frames, tokens[i], tuple(used[i]), estimates[i])

    def finish(
        self,
        prompt: Prompt,
        frames: NDArray[np.float32],
        tokens: NDArray[np.int16],
        used: tuple[ExemplarClip, ...] = (),
        estimate: tuple[float, float, float] | None = None,
        *,
        smoothing: float = SMOOTHING,
    ) -> Generated:
        """Frames [T, C] as a clip: smoothed over time, reference bones, path summed up, feet cleaned; ``raw`` as decoded."""
        from motion.feet import clean_feet

        frames = frames.copy()
        frames[:, self.spec.contacts] = frames[:, self.spec.contacts].clip(0, 1)
        raw = frames_to_joints(same_size(frames, self.spec), self.spec)
        joints = frames_to_joints(same_size(smoothed(frames, self.spec, smoothing), self.spec), self.spec)
        joints = clean_feet(joints, self.spec.skeleton, self.spec.fps, frames[:, self.spec.contacts])
        clip = Clip(
            joints=joints,
            skeleton=self.spec.skeleton,
            fps=self.spec.fps,
            captions=(Caption(prompt.text, kind="model"),) if prompt.text else (),
            source=Source(dataset="generated", take=f"{self.name}-{prompt.seed}", notes={"generator": self.name}),
        )
        return Generated(prompt, clip, raw, frames, tokens, used, estimate)

    def read_exemplars(self, found: Sequence[ExemplarClip]) -> list[Exemplar]:
        """Exemplar clips as tokens, captions as vectors."""
        if not found:
            return []
        frames = [clip_to_frames(x.clip, self.spec)[: round(LONGEST_S * self.spec.fps)] for x in found]
        ids = self.tokenizer.encode_frames(frames)
        captions = encode_sentences(self.tower, [x.caption or " " for x in found])
        out = []
        for x, tokens, caption in zip(found, ids, captions, strict=True):
            latents = self.tokenizer.exemplar_latents(tokens)
            rows = np.array([not x.parts or row in x.parts for row in self.tokenizer.config.rows])
            out.append(Exemplar(tokens[..., 0], latents, caption.pooled, x.score, rows))
        return out

    def _read(self, used: Sequence[Sequence[ExemplarClip]]) -> list[list[Exemplar]]:
        """The exemplars of every prompt; the same ones, as candidates of one prompt have them, are read once."""
        known: dict[tuple[object, ...], list[Exemplar]] = {}
        out = []
        for found in used:
            key = tuple((id(x.clip), x.score, x.caption, tuple(x.parts)) for x in found)
            if key not in known:
                known[key] = self.read_exemplars(found)
            out.append(known[key])
        return out

    def _lengths(
        self, prompts: Sequence[Prompt], sentences: Sequence[Sentence], read: Sequence[Sequence[Exemplar]]
    ) -> tuple[list[int], list[tuple[float, float, float] | None]]:
        counts: list[int] = []
        estimates: list[tuple[float, float, float] | None] = []
        shortest, longest = (round(s / self.token_s) for s in (SHORTEST_S, LONGEST_S))
        for prompt, sentence, found in zip(prompts, sentences, read, strict=True):
            if prompt.known is not None:
                counts.append(prompt.known.shape[1])
                estimates.append(None)
            elif prompt.seconds is not None:
                counts.append(max(1, round(prompt.seconds / self.token_s)))
                estimates.append(None)
            else:
                lengths = [x.latents.shape[1] for x in found]
                chances = self.length.distribution(sentence.pooled, lengths, [x.score for x in found])
                share = 0.5 if prompt.seed == 0 else float(np.random.default_rng(prompt.seed).uniform(0.2, 0.8))
                counts.append(min(max(quantile(chances, share), shortest), longest))
                low, middle, high = (quantile(chances, s) * self.token_s for s in (0.1, 0.5, 0.9))
                estimates.append((low, middle, high))
        return counts, estimates


def check(prompt: Prompt) -> None:
    """GeneratorError where a prompt cannot be made into a motion."""
    if prompt.known is None and not prompt.text.strip():
        raise GeneratorError("the prompt is empty; describe the motion in a sentence")
    if prompt.seconds is not None and not SHORTEST_S <= prompt.seconds <= LONGEST_S:
        raise GeneratorError(
            f"a length of {prompt.seconds:g} s is beyond what this generator can make; give {SHORTEST_S:g} to {LONGEST_S:g} s"
        )


def generator_folder(name_or_path: str | Path | None = None) -> Path:
    """The folder of a shipped generator or a trained one; GeneratorError when there is none."""
    name = str(name_or_path or DEFAULT_GENERATOR)
    for folder in (_SHIPPED / name, Path(name)):
        if (folder / "masked" / "config.json").is_file():
            return folder
    known = ", ".join(sorted(p.parent.parent.name for p in _SHIPPED.glob("*/masked/config.json"))) or "none"
    raise GeneratorError(
        f"no generator {name!r}: neither a shipped one ({known}) nor a folder with tokenizer and masked"
    )


def load_generator(name_or_path: str | Path | None = None, *, device: str = "auto") -> Generator:
    """Load a shipped generator by name or a trained one by folder (``tokenizer``, ``masked``, ``residual``, ``length``)."""
    from encoders.device import choose_device

    folder = generator_folder(name_or_path)
    name = choose_device(device).name
    tokenizer = load_tokenizer(folder / "tokenizer", name)
    configs = {kind: read_config(folder / kind, kind) for kind in ("masked", "residual", "length")}
    for kind in ("masked", "residual"):
        check_fingerprint(configs[kind], folder / "tokenizer", folder / kind)
    masked = MaskedTransformer(from_json(MaskedConfig, configs["masked"]["model"], folder / "masked"), tokenizer.config)
    residual = ResidualTransformer(
        from_json(ResidualConfig, configs["residual"]["model"], folder / "residual"), tokenizer.config
    )
    length = LengthEstimator(from_json(LengthConfig, configs["length"]["model"], folder / "length"))
    for kind, model in (("masked", masked), ("residual", residual), ("length", length)):
        load_model(model, folder / kind)
    return Generator(
        tokenizer=tokenizer, masked=masked, residual=residual, length=length,
        retrieval=Retrieval(**configs["masked"].get("retrieval", {})), text_tower=configs["masked"]["text_tower"],
        name=folder.name, fingerprint=fingerprint(folder / "masked"), device=name,
    )  # fmt: skip
