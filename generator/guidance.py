"""RAG classifier-free guidance: two scales, one for the sentence and one for what was retrieved for it.

With l(t, r) the logits given text and exemplars, and a dash for what is hidden, the guided logits are

    l(-, -) + s_t (l(t, -) - l(-, -)) + s_r (l(t, r) - l(t, -))

- s_t = s_r = 1 is plain conditioning; s_r = 0 equals no retrieval, exactly: the branch that sees exemplars is not even run.
- The single scale of the ReMoMask paper, (1 + s) l(t, r) - s l(-, -), is the special case s_t = s_r = 1 + s.
- A schedule grows the scales over the sampling steps: early steps place the coarse motion with more freedom.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from generator.errors import GeneratorError

BOTH, TEXT, NONE = (True, True), (True, False), (False, False)  # (sees text, sees exemplars)
SCHEDULES = ("constant", "linear", "late")


@dataclass(frozen=True)
class Guidance:
    """Scales of text and retrieval, and how they grow over the steps."""

    text_scale: float = 2.5
    retrieval_scale: float = 1.0
    schedule: str = "constant"

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise GeneratorError(f"unknown guidance schedule {self.schedule!r}; use one of {', '.join(SCHEDULES)}")
        if not (0 <= self.text_scale <= 50 and 0 <= self.retrieval_scale <= 50):
            raise GeneratorError(
                f"guidance scales are {self.text_scale} and {self.retrieval_scale}; give numbers from 0 to 50"
            )

    @classmethod
    def single(cls, scale: float) -> Guidance:
        """The paper's form (1 + s) l(t, r) - s l(-, -)."""
        return cls(text_scale=1 + scale, retrieval_scale=1 + scale)

    def weights(self, progress: float) -> dict[tuple[bool, bool], float]:
        """The weight of each branch's logits at ``progress`` 0 to 1 of sampling; branches of weight 0 are left out.

        The branch that sees most is the first.
        """
        if self.schedule == "linear":
            grow = progress
        elif self.schedule == "late":
            grow = progress**2
        else:
            grow = 1.0
        text = min(1.0, self.text_scale) + max(0.0, self.text_scale - 1.0) * grow
        retrieval = min(1.0, self.retrieval_scale) + max(0.0, self.retrieval_scale - 1.0) * grow
        found = {BOTH: retrieval, TEXT: text - retrieval, NONE: 1.0 - text}
        return {branch: weight for branch, weight in found.items() if abs(weight) > 1e-9}


def combine(logits: dict[tuple[bool, bool], Tensor], weights: dict[tuple[bool, bool], float]) -> Tensor:
    """The weighted sum of the branches' logits."""
    total: Tensor | None = None
    for branch, weight in weights.items():
        part = weight * logits[branch]
        total = part if total is None else total + part
    if total is None:
        raise GeneratorError("guidance has no branch of weight; give a text or retrieval scale")
    return total
