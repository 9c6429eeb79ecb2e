"""The first pass of a search by torch, on whatever device torch has: half precision blocks, products, the best of each.

- Vectors stay on the device as float16; a filter is a mask. See :mod:`db.scanners` for why answers are those of the CPU.
- Which back end a device gets is decided here: FAISS's where it was built for cards and nothing is filtered, torch's otherwise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from db import HALF_ROUNDING, FaissGpuScanner, Scanner, ScannerFactory, SpaceVectors, probe_faiss_gpu

BLOCK_ROWS = 262_144
WORTH_ROWS = 50_000  # below, a card gains nothing over one core


class TorchScanner:
    """All vectors [N, D] of a space as float16 on a torch device."""

    filters = True
    largest = 2**31 - 1
    error = 8 * HALF_ROUNDING  # of vector, query and product, and of sums that kernels may split

    def __init__(self, vectors: SpaceVectors, device: str) -> None:
        import torch

        self.name = f"torch {device}"
        self._device = device
        self._block = torch.empty((len(vectors), vectors.dim), dtype=torch.float16, device=device)
        for start, piece in vectors.chunks():
            self._block[start : start + len(piece)] = torch.from_numpy(np.array(piece)).to(device, torch.float16)

    def best(
        self, queries: NDArray[np.float32], count: int, keep: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """See :class:`db.Scanner`: products a block of rows, the best kept from block to block."""
        import torch

        asked = torch.from_numpy(queries).to(self._device, torch.float16)
        left_out = None if keep is None else torch.from_numpy(~keep).to(self._device)
        scores = torch.full((len(queries), 0), -torch.inf, device=self._device)
        rows = torch.zeros((len(queries), 0), dtype=torch.int64, device=self._device)
        with torch.inference_mode():
            for start in range(0, len(self._block), BLOCK_ROWS):
                block = self._block[start : start + BLOCK_ROWS]
                own = (asked @ block.T).float()
                if left_out is not None:
                    own.masked_fill_(left_out[None, start : start + len(block)], -torch.inf)
                found, places = own.topk(min(count, own.shape[1]), dim=1)
                both, where = torch.cat([scores, found], 1), torch.cat([rows, places + start], 1)
                scores, order = both.topk(min(count, both.shape[1]), dim=1)
                rows = where.gather(1, order)
        return scores.cpu().numpy(), rows.cpu().numpy()


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
