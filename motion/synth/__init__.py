"""Procedural motion of known content: captions, labels and event times are true by construction.

- ``body`` poses a skeleton from joint angles and walks it over the floor without sliding; ``actions`` says how angles move;
  ``words`` says it in English. A new action is one function and one entry.
- It stands in where real data may not be shipped (the demo, tests) and beside it in training. It is no substitute for it.
"""

from motion.synth.compose import synthesise
from motion.synth.words import swap_order

__all__ = ["swap_order", "synthesise"]
