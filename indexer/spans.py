"""Long takes become overlapping spans, so that a hit says *when*, and no embedding has to average minutes.

- A take of up to ``longest_s`` stays whole. A longer one is cut into windows of ``span_s`` every ``stride_s``; the last
  ends where the take ends, and takes the place of a window that would begin less than half a stride before it.
- Whole-take captions go to every span; a caption with times goes to the spans that hold half of it (or half of which it
  fills), with its times counted from the span's begin.
- A take shorter than ``shortest_s`` is refused: there is no motion to speak of.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from motion import Caption, Clip, MotionError


@dataclass(frozen=True, kw_only=True)
class SpanRule:
    """How takes are cut; all in seconds."""

    span_s: float = 8.0
    stride_s: float = 4.0
    longest_s: float = 10.0
    shortest_s: float = 0.5

    def __post_init__(self) -> None:
        if not (0 < self.shortest_s <= self.span_s <= self.longest_s and 0 < self.stride_s <= self.span_s):
            raise ValueError(
                f"{self}: needs 0 < shortest_s <= span_s <= longest_s and 0 < stride_s <= span_s; change the lengths"
            )

    @property
    def mark(self) -> str:
        """A short name of the rule: takes cut by another rule are cut again."""
        return f"{self.span_s:g}/{self.stride_s:g}/{self.longest_s:g}/{self.shortest_s:g}"


def cut(clip: Clip, rule: SpanRule | None = None) -> list[Clip]:
    """The spans of a take as clips, in order of time; ``source.start_s`` and ``end_s`` say which seconds they are.

    Raises:
        MotionError: the take is shorter than ``rule.shortest_s``.
    """
    rule = rule or SpanRule()
    if clip.duration_s < rule.shortest_s:
        raise MotionError(
            f"{clip.source.take}: lasts {clip.duration_s:.2f} s ({len(clip)} frames), less than {rule.shortest_s:g} s; "
            "drop it or join it to its neighbour"
        )
    if clip.duration_s <= rule.longest_s:
        return [_ended(clip)]
    starts = span_starts(clip.duration_s, rule)
    return [_with_timed_captions(clip, clip.cut(start, start + rule.span_s)) for start in starts]


def span_starts(duration_s: float, rule: SpanRule) -> list[float]:
    """Begin of every window of a take of ``duration_s``, in seconds: all of the take is covered."""
    last = duration_s - rule.span_s
    starts: list[float] = []
    while len(starts) * rule.stride_s < last:
        starts.append(len(starts) * rule.stride_s)
    if len(starts) > 1 and last - starts[-1] < rule.stride_s / 2 and last - starts[-2] <= rule.span_s:
        starts.pop()  # all but the same window
    return [*starts, last]


def _ended(clip: Clip) -> Clip:
    """``clip`` with the end of its span filled in where its reader left it open."""
    source = clip.source
    if source.end_s > source.start_s:
        return clip
    return replace(clip, source=replace(source, end_s=source.start_s + clip.duration_s))


def _with_timed_captions(take: Clip, span: Clip) -> Clip:
    """``span`` without the timed captions that merely touch it."""
    begin = span.source.start_s - take.source.start_s
    kept = tuple(
        replace(caption, start_s=max(caption.start_s - begin, 0.0), end_s=min(caption.end_s - begin, span.duration_s))
        if caption.end_s > caption.start_s
        else caption
        for caption in take.captions
        if _belongs(caption, begin, begin + span.duration_s)
    )
    return replace(span, captions=kept)


def _belongs(caption: Caption, begin: float, end: float) -> bool:
    if caption.end_s <= caption.start_s:
        return True
    overlap = min(caption.end_s, end) - max(caption.start_s, begin)
    return overlap >= 0.5 * min(caption.end_s - caption.start_s, end - begin)
