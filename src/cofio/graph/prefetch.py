"""Telling the processor what a kernel will read next.

What a question reads of a large memory lies anywhere in it, and a core that waits for one cache line after the other
spends most of its time waiting.
"""

from __future__ import annotations

from typing import Any, Final

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

_READ, _KEEP, _DATA = 0, 3, 1  # the last arguments of LLVM's `llvm.prefetch`
LINE_BYTES: Final = 64  # of a cache line


@intrinsic
def prefetch(typing: Any, array: Any, row: Any, column: Any) -> Any:
    """The cache line of `array[row, column]`, or of `array[row]` if it has one dimension, is on its way.

    Nothing waits for it, and a place outside of the array does no harm.
    """

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = signature.args[0]
        held = make_array(kind)(context, builder, args[0])
        at = cgutils.get_item_pointer(context, builder, kind, held, args[1 : 1 + kind.ndim], wraparound=False)
        at = builder.bitcast(at, ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        declared = ir.FunctionType(ir.VoidType(), [at.type, number, number, number])
        call = builder.module.declare_intrinsic("llvm.prefetch", [at.type], declared)
        builder.call(call, [at, number(_READ), number(_KEEP), number(_DATA)])
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp), code
