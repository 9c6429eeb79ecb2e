"""Motion to tokens and back: a residual vector quantiser over body parts x time.

- Two layouts of one implementation. ``parts``: six rows (root with the foot contacts, legs, backbone, arms), one token a row
  and ``patch`` frames; ``whole``: a single row that reads everything (MoMask).
- A row is encoded from its own columns alone, so a token of the left arm tells of the left arm; the decoder sees all rows
  together, so that limbs and root agree. Left limbs are mirrored and share weights and codebooks with right limbs.
- Codebooks, their moving averages and whether they were started are part of the state: a resumed run goes on, it never
  starts them anew. Quantiser (moving averages, restart of dead codes): vector-quantize-pytorch.
- A clip is encoded at its own length; where clips of several lengths share a batch, padding is zeroed before every
  convolution, which is what the end of a clip looks like alone. Tokens do not depend on the batch.

Idea: EricGuo5513/momask-codes (residual quantiser), weihaosky/mogents and AIGeeksGroup/ReMoMask (tokens in two dimensions;
there columns of joints in index order, here anatomical parts).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from vector_quantize_pytorch import ResidualVQ

from generator.errors import GeneratorError
from generator.frames import FrameSpec, frame_spec
from motion import PARTS

WHOLE = "whole"


@dataclass(frozen=True)
class TokenizerConfig:
    """Sizes; saved as JSON beside the weights."""

    layout: str = "parts"  # or "whole"
    features: str = "humanml3d-263"
    patch: int = 4  # frames a token
    levels: int = 6
    codes: int = 256  # a level and kind of part
    code_dim: int = 64
    row_width: int = 128  # of the encoder of a row
    row_depth: int = 3
    body_width: int = 384  # of the decoder, in tokens
    body_depth: int = 4
    frame_width: int = 192  # of the decoder, in frames
    frame_depth: int = 2
    level_dropout: float = 0.2  # share of clips decoded from fewer levels in training

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of the rows R, in the order of every token array."""
        return PARTS if self.layout == "parts" else (WHOLE,)


TOKENIZERS = {
    "small": TokenizerConfig(),
    "base": TokenizerConfig(codes=512, code_dim=128, row_width=256, body_width=768, body_depth=6, frame_width=384),
    "whole": TokenizerConfig(layout=WHOLE, row_width=384, row_depth=4),
}


@dataclass(frozen=True)
class Quantised:
    """``latents`` [B, R, N, D] with gradient, ``ids`` [B, R, N, levels] (-1 where padded), ``commit`` a scalar."""

    latents: Tensor
    ids: Tensor
    commit: Tensor


class ConvBlock(nn.Module):
    """Residual block over time with a norm over channels; padding is zeroed before it can leak into real frames."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.wide = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.narrow = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """``x`` [B, N, W], ``mask`` [B, N, 1] ones where real."""
        y = F.gelu(self.norm(x)) * mask
        y = self.narrow(F.gelu(self.wide(y.transpose(1, 2)))).transpose(1, 2)
        out: Tensor = x + y
        return out


class RowEncoder(nn.Module):
    """Frames [B, T, c] of a row to latents [B, T / patch, D]."""

    def __init__(self, columns: int, config: TokenizerConfig) -> None:
        super().__init__()
        width = config.row_width
        self.patch = config.patch
        self.first = nn.Conv1d(columns, width // 2, 3, padding=1)
        self.down = nn.Linear(width // 2 * config.patch, width)
        self.blocks = nn.ModuleList(ConvBlock(width, 3 ** (i % 2)) for i in range(config.row_depth))
        self.out = nn.Linear(width, config.code_dim)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """``mask`` [B, T / patch, 1]."""
        b, t, _ = x.shape
        x = x * mask.repeat_interleave(self.patch, 1)
        x = F.gelu(self.first(x.transpose(1, 2))).transpose(1, 2)
        x = self.down(x.reshape(b, t // self.patch, -1))
        for block in self.blocks:
            x = block(x, mask)
        out: Tensor = self.out(x)
        return out


class Decoder(nn.Module):
    """Latents of all rows [B, R, N, D] to frames [B, N * patch, C]."""

    def __init__(self, config: TokenizerConfig, columns: int) -> None:
        super().__init__()
        self.patch = config.patch
        self.first = nn.Linear(len(config.rows) * config.code_dim, config.body_width)
        self.body = nn.ModuleList(ConvBlock(config.body_width, 3 ** (i % 2)) for i in range(config.body_depth))
        self.up = nn.Linear(config.body_width, config.frame_width * config.patch)
        self.frames = nn.ModuleList(ConvBlock(config.frame_width, 3 ** (i % 2)) for i in range(config.frame_depth))
        self.norm = nn.LayerNorm(config.frame_width)
        self.out = nn.Linear(config.frame_width, columns)

    def forward(self, latents: Tensor, mask: Tensor) -> Tensor:
        """``mask`` [B, N, 1]."""
        b, r, n, d = latents.shape
        x = self.first(latents.transpose(1, 2).reshape(b, n, r * d))
        for block in self.body:
            x = block(x, mask)
        x = self.up(x).reshape(b, n * self.patch, -1)
        mask = mask.repeat_interleave(self.patch, 1)
        for block in self.frames:
            x = block(x, mask)
        out: Tensor = self.out(self.norm(x))
        return out


class Tokenizer(nn.Module):
    """Frames to ids and back, with its own normalisation."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        self.frames: FrameSpec = frame_spec(config.features)
        self.register_buffer("mean", torch.zeros(self.frames.dim))
        self.register_buffer("std", torch.ones(self.frames.dim))
        _, signs = self.frames.mirror
        self._signs = torch.from_numpy(signs)
        self._columns = {WHOLE: torch.arange(self.frames.dim)} | {
            part: torch.from_numpy(columns) for part, columns in self.frames.part_columns.items()
        }
        self.encoders, self.quantisers = nn.ModuleDict(), nn.ModuleDict()
        for row in config.rows:
            kind = kind_of(row)
            if kind not in self.encoders:
                self.encoders[kind] = RowEncoder(len(self._columns[row]), config)
                self.quantisers[kind] = ResidualVQ(
                    dim=config.code_dim, codebook_size=config.codes, num_quantizers=config.levels, decay=0.99,
                    kmeans_init=True, kmeans_iters=10, threshold_ema_dead_code=1.0,
                    sync_codebook=int(os.environ.get("WORLD_SIZE", "1")) > 1,
                )  # fmt: skip
        self.decoder = Decoder(config, self.frames.dim)

    def set_statistics(self, frames: Sequence[NDArray[np.float32]]) -> None:
        """Mean of every column and one deviation a block, so that a millimetre weighs the same for every joint."""
        rows = np.concatenate(frames).astype(np.float64)
        mirrored = rows[:, self.frames.mirror[0]] * self.frames.mirror[1]
        both = np.concatenate([rows, mirrored])
        std = both.std(0)
        for block in (slice(0, 1), slice(1, 3), slice(3, 4), self.frames.positions, self.frames.contacts):
            std[block] = np.sqrt((std[block] ** 2).mean())
        self.mean.copy_(torch.from_numpy(both.mean(0)))
        self.std.copy_(torch.from_numpy(np.maximum(std, 1e-3)))

    def latents(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Latents [B, R, N, D] before quantising; ``frames`` [B, N * patch, C], ``mask`` [B, N]."""
        x = (frames - self.mean) / self.std
        mask = mask[..., None].to(x.dtype)
        out: dict[str, Tensor] = {}
        for kind, rows in self._kinds().items():
            stack = torch.cat([self._row(x, row) for row in rows])
            out |= dict(
                zip(rows, self.encoders[kind](stack, mask.repeat(len(rows), 1, 1)).chunk(len(rows)), strict=True)
            )
        return torch.stack([out[row] for row in self.config.rows], 1)

    def quantise(self, latents: Tensor, mask: Tensor) -> Quantised:
        """Nearest codes level by level; in training the codebooks follow and some clips lose their last levels."""
        out: dict[str, tuple[Tensor, Tensor]] = {}
        commit = latents.new_zeros(())
        names = list(self.config.rows)
        for kind, rows in self._kinds().items():
            x = torch.cat([latents[:, names.index(row)] for row in rows])
            _, ids, losses, codes = self.quantisers[kind](x, mask=mask.repeat(len(rows), 1), return_all_codes=True)
            commit = commit + losses.sum() / len(self._kinds())
            codes = codes.detach()
            if self.training and self.config.level_dropout:
                codes = codes * self._kept_levels(len(latents), x).repeat(1, len(rows), 1, 1)
            quantised = x + (codes.sum(0) - x).detach()
            pieces = zip(quantised.chunk(len(rows)), ids.chunk(len(rows)), strict=True)
            out |= dict(zip(rows, pieces, strict=True))
        pairs = [out[row] for row in names]
        return Quantised(torch.stack([p[0] for p in pairs], 1), torch.stack([p[1] for p in pairs], 1), commit)

    def _kept_levels(self, batch: int, like: Tensor) -> Tensor:
        """[levels, B, 1, 1]: ones where a level of a clip is kept."""
        levels = self.config.levels
        count = torch.randint(1, levels + 1, (batch,), device=like.device)
        whole = torch.rand(batch, device=like.device) >= self.config.level_dropout
        count = torch.where(whole, levels, count)
        keep = torch.arange(levels, device=like.device)[:, None] < count[None]
        return keep[..., None, None].to(like.dtype)

    def codes(self, ids: Tensor) -> Tensor:
        """The summed codes [B, R, N, D] of ids [B, R, N, levels]; fewer levels are fine, -1 adds nothing."""
        names = list(self.config.rows)
        out: dict[str, Tensor] = {}
        for kind, rows in self._kinds().items():
            books = self.codebooks(kind)
            for row in rows:
                own = ids[:, names.index(row)]
                found = torch.stack([F.embedding(own[..., q].clamp(min=0), books[q]) for q in range(own.shape[-1])], -1)
                out[row] = (found * (own >= 0)[..., None, :]).sum(-1)
        return torch.stack([out[row] for row in names], 1)

    def exemplar_latents(self, ids: NDArray[np.integer]) -> NDArray[np.float16]:
        """What a transformer reads of an exemplar: first-level codes beside summed ones, [R, N, 2 D] of ids [R, N, Q].

        The first level by itself, since that is what may be copied; the sum, since it says what the motion really is.
        """
        with torch.inference_mode():
            own = torch.from_numpy(np.asarray(ids, np.int64))[None].to(self.mean.device)
            both = torch.cat([self.codes(own[..., :1]), self.codes(own)], -1)[0]
            return np.asarray(both.cpu().numpy(), np.float16)

    @property
    def exemplar_shape(self) -> tuple[int, int]:
        """Rows R and width 2 D of :meth:`exemplar_latents`."""
        return len(self.config.rows), 2 * self.config.code_dim

    def codebooks(self, kind: str) -> Tensor:
        """Code vectors [levels, codes, D] of a kind of part: root, leg, backbone, arm (or whole)."""
        books = self.quantisers[kind].codebooks
        assert isinstance(books, Tensor)
        return books

    def decode(self, latents: Tensor, mask: Tensor) -> Tensor:
        """Frames [B, N * patch, C] of summed codes [B, R, N, D]; ``mask`` [B, N]."""
        frames: Tensor = self.decoder(latents, mask[..., None].to(latents.dtype)) * self.std + self.mean
        return frames

    @torch.inference_mode()
    def encode_frames(self, frames: Sequence[NDArray[np.float32]]) -> list[NDArray[np.int16]]:
        """Ids [R, N, levels] of each clip's frames [T, C], N = T // patch; the up to ``patch`` - 1 last frames are left out.

        Raises:
            GeneratorError: a clip has fewer frames than a token.
        """
        self.eval()
        out: list[NDArray[np.int16]] = []
        for start in range(0, len(frames), 64):
            lengths = [len(x) // self.config.patch for x in frames[start : start + 64]]
            if not all(lengths):
                raise GeneratorError(f"a clip needs at least {self.config.patch} frames to become a token")
            x, mask = batch_frames([f for f in frames[start : start + 64]], self.config.patch)
            ids = self.quantise(
                self.latents(x.to(self.mean.device), mask.to(self.mean.device)), mask.to(self.mean.device)
            )
            out += [ids.ids[i, :, :n].cpu().numpy().astype(np.int16) for i, n in enumerate(lengths)]
        return out

    @torch.inference_mode()
    def decode_ids(self, ids: Sequence[NDArray[np.integer]]) -> list[NDArray[np.float32]]:
        """Frames [N * patch, C] of each array of ids [R, N, levels]."""
        self.eval()
        out: list[NDArray[np.float32]] = []
        for start in range(0, len(ids), 64):
            chunk = [torch.from_numpy(np.asarray(i, np.int64)) for i in ids[start : start + 64]]
            longest = max(i.shape[1] for i in chunk)
            padded = torch.stack([F.pad(i, (0, 0, 0, longest - i.shape[1]), value=-1) for i in chunk])
            padded = padded.to(self.mean.device)
            mask = padded[:, 0, :, 0] >= 0
            frames = self.decode(self.codes(padded), mask)
            out += [frames[k, : i.shape[1] * self.config.patch].cpu().numpy() for k, i in enumerate(chunk)]
        return out

    def _kinds(self) -> dict[str, list[str]]:
        kinds: dict[str, list[str]] = {}
        for row in self.config.rows:
            kinds.setdefault(kind_of(row), []).append(row)
        return kinds

    def _row(self, x: Tensor, row: str) -> Tensor:
        columns = self._columns[row].to(x.device)
        own = x[..., columns]
        return own * self._signs.to(x.device)[columns] if row.startswith("left_") else own


def kind_of(row: str) -> str:
    """Rows of one kind share weights and codebooks: both legs, both arms."""
    return row.removeprefix("left_").removeprefix("right_")


def batch_frames(frames: Sequence[NDArray[np.float32]], patch: int) -> tuple[Tensor, Tensor]:
    """Clips [T_i, C] as one array [B, N * patch, C] and the mask [B, N] of its tokens; rests of a token are cut off."""
    lengths = [len(x) // patch for x in frames]
    out = np.zeros((len(frames), max(lengths) * patch, frames[0].shape[1]), np.float32)
    mask = np.zeros((len(frames), max(lengths)), bool)
    for row, (x, n) in enumerate(zip(frames, lengths, strict=True)):
        out[row, : n * patch] = x[: n * patch]
        mask[row, :n] = True
    return torch.from_numpy(out), torch.from_numpy(mask)
