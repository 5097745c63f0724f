"""Drills: the service is broken on purpose, again and again, and what it did is counted.

A drill is a module of this package with `add_options(parser)` and `run(options) -> Found`; its docstring is its
description in docs/reliability.md. `DRILLS` in `__main__` lists them.
"""
