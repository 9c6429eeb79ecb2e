"""The studio: a library behind HTTP, with a page for people, an API for programs and tools for assistants.

Everything here stands on :class:`remora.Engine`; nothing is imported by ``import remora`` or by ``--help``.
"""
