"""How large the numbers between the encoder's layers become, so that bytes can stand for them.

`ranges.json` holds, for the input of each linear layer but those behind GELU, a number a column by which the column is
divided to lie within -1 and 1. A few columns are ten times as large as all others, always the same ones (Dettmers et al. 2022).
`scripts/measure_ranges.py` measured them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files

import numpy as np

from cofio.records import Float32s

Ranges = Mapping[str, Float32s]
"""By the name of the layer: (384,), all positive."""


def read_ranges() -> Ranges:
    """The ranges of all-MiniLM-L6-v2."""
    stored = json.loads(files("cofio.embed").joinpath("ranges.json").read_text(encoding="utf-8"))
    return {name: np.array(numbers, np.float32) for name, numbers in stored.items()}
