"""Requests for new motion become work for the job thread: exemplars found, sampling set, the result put on its shelf."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

from remora.asking import clean_text, sampling_of
from remora.engine import Engine
from remora.web.answers import EditedAnswer, ExemplarAnswer, ResultAnswer
from remora.web.asked import Draw, EditMotion, Generate
from remora.web.errors import StudioError
from remora.web.jobs import Step, Work
from remora.web.studio import Studio, condition

if TYPE_CHECKING:
    from generator import ExemplarClip, Generated, Sampling


def generation(studio: Studio, asked: Generate) -> Work:
    """The work of making a new motion; what is wrong with ``asked`` is said at once."""
    from generator import Prompt
    from generator.model import check

    check_generator(studio)
    text = clean_text(asked.text)
    seed = drawn_seed(asked)
    check(Prompt(text=text, seconds=asked.seconds, seed=seed))
    condition(asked.where)
    own = _own_exemplars(studio, asked)
    sampling = sampling_for(asked)

    def work(step: Step) -> ResultAnswer:
        step("loading the generator", 0, 1)
        engine = studio.making_engine()
        step("looking for exemplars", 0, 1)
        found = own if own is not None else _exemplars(engine, asked, text)
        prompt = Prompt(text=text, seconds=asked.seconds, seed=seed, exemplars=found)
        (made,) = engine.generate([prompt], sampling=sampling, candidates=asked.candidates, progress=step)
        return result(studio, made, seed)

    return work


def edition(studio: Studio, asked: EditMotion) -> Work:
    """The work of making a part of a motion anew."""
    from generator import Edit
    from generator.editing import check_parts

    check_generator(studio)
    text = clean_text(asked.text) if asked.text.strip() else ""
    seed = drawn_seed(asked)
    clip = studio.clip(asked.clip)
    what = Edit(
        start_s=asked.start_s, end_s=asked.end_s, parts=check_parts(asked.parts), before_s=asked.before_s,
        after_s=asked.after_s, loop_s=asked.loop_s,
    )  # fmt: skip
    condition(asked.where)
    own = _own_exemplars(studio, asked)
    sampling = sampling_for(asked)

    def work(step: Step) -> ResultAnswer:
        step("loading the generator", 0, 1)
        engine = studio.making_engine()
        found = own if own is not None else _exemplars(engine, asked, text) if text else ()
        done = engine.edit(clip, what, text=text, seed=seed, exemplars=found, sampling=sampling, progress=step)
        return result(studio, done.result, seed, EditedAnswer(done.start_s, done.end_s, tuple(done.parts)))

    return work


def check_generator(studio: Studio) -> None:
    """StudioError 503 when there is nothing to generate with."""
    studio.look_for_generator()
    if studio.models.generator == "absent":
        raise StudioError(503, "no_generator", studio.generator_note)


def drawn_seed(asked: Draw) -> int:
    """The seed that was asked for, or a new one."""
    return random.SystemRandom().randrange(1, 2**31) if asked.seed is None else asked.seed


def sampling_for(asked: Draw) -> Sampling:
    """How to sample; without retrieval where no exemplar is wanted."""
    sampling = sampling_of(
        text_scale=asked.text_scale, retrieval_scale=asked.retrieval_scale, schedule=asked.schedule, steps=asked.steps,
        temperature=asked.temperature,
    )  # fmt: skip
    if asked.neighbours == 0 and not asked.exemplars:
        sampling = replace(sampling, guidance=replace(sampling.guidance, retrieval_scale=0.0))
    return sampling


def _own_exemplars(studio: Studio, asked: Draw) -> tuple[ExemplarClip, ...] | None:
    """The exemplars that were named; None when they are to be found."""
    from generator import ExemplarClip

    if asked.exemplars is None:
        return None if asked.neighbours and asked.retrieval_scale != 0 else ()
    clips = [studio.clip(clip_id) for clip_id in asked.exemplars]
    return tuple(ExemplarClip(clip, 1.0, clip.captions[0].text if clip.captions else "") for clip in clips)


def _exemplars(engine: Engine, asked: Draw, text: str) -> tuple[ExemplarClip, ...]:
    return engine.exemplars(text, k=asked.neighbours, where=asked.where)


def result(studio: Studio, made: Generated, seed: int, edited: EditedAnswer | None = None) -> ResultAnswer:
    """A made motion on its shelf, and how it came about."""
    clip = studio.results.put(made.clip)
    exemplars = tuple(ExemplarAnswer(x.clip.clip_id, x.score, x.caption, tuple(x.parts)) for x in made.exemplars)
    return ResultAnswer(clip.clip_id, clip.duration_s, clip.fps, seed, exemplars, made.seconds_estimated, edited)
