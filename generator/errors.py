"""Errors of the generator: what, which file or value, what to do."""


class GeneratorError(Exception):
    """Something the generator was asked for cannot be done; the message says what to do instead."""
