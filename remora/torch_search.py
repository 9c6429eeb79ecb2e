"""The first pass of a search by torch, on whatever device torch has: half precision blocks, products, the best of each.

- Vectors stay on the device as float16; a filter is a mask. See :mod:`db.scanners` for why answers are those of the CPU.
- How far rounding to half precision moved the vectors is measured when they are laid down: the smaller the error, the
  fewer candidates must be ranked again.
- Which back end a device gets is decided here: FAISS's where it was built for cards and nothing is filtered, torch's otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from db import HALF_ROUNDING, FaissGpuScanner, Scanner, ScannerFactory, SpaceVectors, probe_faiss_gpu

if TYPE_CHECKING:
    from torch import Tensor

BLOCK_SCORES = 2**27  # first-pass scores held at a time (512 MB)
GROUP = 64  # scores of which the largest is looked at first
WORTH_ROWS = 50_000  # below, a card gains nothing over one core


class TorchScanner:
    """All vectors [N, D] of a space as float16 on a torch device."""

    filters = True
    largest = 2**31 - 1

    def __init__(self, vectors: SpaceVectors, device: str) -> None:
        import torch

        self.name = f"torch {device}"
        self._device = device
        self._block = torch.empty((len(vectors), vectors.dim), dtype=torch.float16, device=device)
        moved = 0.0
        for start, piece in vectors.chunks():
            whole = torch.from_numpy(np.array(piece)).to(device)
            half = whole.half()
            self._block[start : start + len(piece)] = half
            moved = max(moved, float((whole - half.float()).norm(dim=1).max()))
        sums = vectors.dim * 2.0**-23  # in single precision
        self.error = (
            moved + 1.01 * HALF_ROUNDING + sums + 1e-6
        )  # of vectors, query, sums, and numbers too small for half

    def best(
        self, queries: NDArray[np.float32], count: int, keep: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """See :class:`db.Scanner`: products a block of rows, the best kept from block to block."""
        import torch

        asked = torch.from_numpy(queries).to(self._device, torch.float16)
        left_out = None if keep is None else torch.from_numpy(~keep).to(self._device)
        scores = torch.full((len(queries), 0), -torch.inf, device=self._device)
        rows = torch.zeros((len(queries), 0), dtype=torch.int64, device=self._device)
        step = max(BLOCK_SCORES // len(queries), 1)
        with torch.inference_mode():
            for start in range(0, len(self._block), step):
                own = products(asked, self._block[start : start + step])
                if left_out is not None:
                    own.masked_fill_(left_out[None, start : start + own.shape[1]], -torch.inf)
                found, places = largest(own, min(count, own.shape[1]))
                both, where = torch.cat([scores, found], 1), torch.cat([rows, places + start], 1)
                scores, order = both.topk(min(count, both.shape[1]), dim=1)
                rows = where.gather(1, order)
        return scores.cpu().numpy(), rows.cpu().numpy()


def products(asked: Tensor, block: Tensor) -> Tensor:
    """Inner products [n, M] of float16 queries [n, D] and vectors [M, D], summed in single precision."""
    import torch

    if block.is_cuda:
        return torch.mm(asked, block.T, out_dtype=torch.float32)
    return asked.float() @ block.float().T


def largest(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` largest of ``scores`` [n, M] and their places, best first.

    Of very many, the largest of every :data:`GROUP` are found first: the best lie in the groups with the best.
    """
    import torch

    queries, length = scores.shape
    groups = length // GROUP
    if 4 * count > groups:
        found, places = scores.topk(count, dim=1)
        return found, places
    head = scores[:, : groups * GROUP].view(queries, groups, GROUP)
    which = head.amax(dim=2).topk(count, dim=1).indices[..., None]
    few = head.gather(1, which.expand(-1, -1, GROUP)).flatten(1)
    where = (which * GROUP + torch.arange(GROUP, device=scores.device)).flatten(1)
    tail = torch.arange(groups * GROUP, length, device=scores.device).expand(queries, -1)
    few, where = torch.cat([few, scores[:, groups * GROUP :]], 1), torch.cat([where, tail], 1)
    found, order = few.topk(count, dim=1)
    return found, where.gather(1, order)


def scanner_for(wanted: str, rows: int) -> tuple[ScannerFactory | None, str]:
    """The back end for a device ("auto", "cpu", or a card by name) and a library of ``rows`` clips, None for the CPU; and why.

    Raises:
        EncoderError: a card was asked for by name and is not there.
    """
    from encoders.device import choose_device

    if wanted == "cpu":
        return None, "asked for"
    if wanted == "auto" and rows < WORTH_ROWS:
        return None, f"{rows} clips are searched as fast by one core"
    device = choose_device(wanted)
    if device.name == "cpu":
        return None, device.reason
    there, why = probe_faiss_gpu()

    def make(vectors: SpaceVectors) -> Scanner:
        return TorchScanner(vectors, device.name)

    def make_both(vectors: SpaceVectors) -> Scanner:
        return _Both(FaissGpuScanner(vectors), TorchScanner(vectors, device.name))

    return (make_both, f"{device.reason}; {why}") if there else (make, f"{device.reason}; {why}")


class _Both:
    """FAISS where it can, torch where something is filtered or many are wanted."""

    filters = True
    name = "faiss-gpu + torch"

    def __init__(self, plain: FaissGpuScanner, filtered: TorchScanner) -> None:
        self._plain, self._filtered = plain, filtered
        self.largest, self.error = filtered.largest, max(plain.error, filtered.error)

    def best(
        self, queries: NDArray[np.float32], count: int, keep: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """See :class:`db.Scanner`."""
        chosen = self._plain if keep is None and count <= self._plain.largest else self._filtered
        return chosen.best(queries, count, keep)
