"""One encoder for all requests: those that wait at the same time are embedded together, what was asked lately is remembered.

- The encoder is loaded in the background; until then a sentence is answered with "loading", while clips of the library, whose
  vectors are stored, can be searched at once.
- Whoever comes while a batch is being embedded waits in the next one: nobody is delayed to make a batch fuller.
- Embeddings do not depend on their batch (a law of encoders), so a batch changes no answer.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from encoders import DualEncoder, Embeddings, EncoderSpec
from motion import Clip
from remora.web.errors import StudioError

MOST_TEXTS = 32  # in one batch
MOST_CLIPS = 16  # in one batch: a sentence waits for one batch of clips, not for all windows of a long motion
REMEMBERED = 4096  # sentences: 7 vectors of some hundred numbers each, 30 MB


class SharedEncoder:
    """A :class:`DualEncoder` for many threads, around one that ``load`` brings."""

    def __init__(self, spec: EncoderSpec, *, seen: Callable[[int], None] = lambda batch: None) -> None:
        self.spec = spec
        self._model: DualEncoder | None = None
        self._why = ""
        self._seen = seen  # told of the size of each batch
        self._lock = threading.Lock()
        self._waiting: list[tuple[str, Future[Embeddings]]] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="studio-encoder")
        self._known: OrderedDict[str, Embeddings] = OrderedDict()

    def __repr__(self) -> str:
        return f"SharedEncoder({self.spec.name!r}, {self.state})"

    @property
    def state(self) -> str:
        """loading, ready or failed."""
        return "ready" if self._model is not None else "failed" if self._why else "loading"

    def ready(self, model: DualEncoder) -> None:
        """From here on embed with ``model``."""
        self._model = model

    def failed(self, why: str) -> None:
        """There will be no model."""
        self._why = why

    def encode_motion(self, clips: Sequence[Clip]) -> Embeddings:
        """Whole [N, D] and parts [N, P, D] of clips."""
        model = self._ready()
        pieces = [clips[at : at + MOST_CLIPS] for at in range(0, max(len(clips), 1), MOST_CLIPS)]
        made = [self._thread.submit(model.encode_motion, piece).result() for piece in pieces]
        return Embeddings(np.concatenate([one.whole for one in made]), np.concatenate([one.parts for one in made]))

    def encode_text(self, texts: Sequence[str]) -> Embeddings:
        """Whole [N, D] and parts [N, P, D] of sentences, together with those of other threads.

        Raises:
            StudioError: the model is still loading, or could not be loaded.
        """
        self._ready()
        asked: list[Future[Embeddings]] = []
        with self._lock:
            for text in texts:
                future: Future[Embeddings] = Future()
                if text in self._known:
                    self._known.move_to_end(text)
                    future.set_result(self._known[text])
                else:
                    self._waiting.append((text, future))
                    self._thread.submit(self._embed_waiting)
                asked.append(future)
        found = [future.result() for future in asked]
        dim, parts = self.spec.dim, len(self.spec.parts)
        whole = np.concatenate([np.zeros((0, dim), np.float32), *(one.whole for one in found)])
        return Embeddings(whole, np.concatenate([np.zeros((0, parts, dim), np.float32), *(one.parts for one in found)]))

    def _ready(self) -> DualEncoder:
        if self._model is not None:
            return self._model
        if self._why:
            raise StudioError(503, "models", f"the encoder could not be loaded: {self._why}")
        raise StudioError(503, "loading", "the models are still loading; ask again in some seconds", retry_s=1)

    def _embed_waiting(self) -> None:
        """Embed one batch of what waits; runs in the encoder's own thread."""
        with self._lock:
            batch = self._waiting[:MOST_TEXTS]
            del self._waiting[:MOST_TEXTS]
        if not batch:  # an earlier batch took it along
            return
        different = list(dict.fromkeys(text for text, _ in batch))
        self._seen(len(different))
        try:
            made = self._ready().encode_text(different)
        except Exception as error:
            for _, future in batch:
                future.set_exception(error)
            return
        rows = {text: Embeddings(made.whole[i : i + 1], made.parts[i : i + 1]) for i, text in enumerate(different)}
        with self._lock:
            self._known.update(rows)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        for text, future in batch:
            future.set_result(rows[text])
