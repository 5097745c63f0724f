"""Python's collector of cycles, which walks through all that there is, and when it need not."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def paused() -> Iterator[None]:
    """The collector does not run inside the block; cycles that are left there go with its next run.

    For what only makes what stays: while modules are imported and stores are opened, it walked through ever more for
    nothing, a tenth of the time.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def settle() -> None:
    """What is there now stays, and the collector never walks through it again.

    Doing so held the interpreter's lock for .15 to .2 s and was the longest stall of the event loop. Nor does it now:
    a start leaves some thousand objects that nobody needs.
    """
    gc.freeze()
