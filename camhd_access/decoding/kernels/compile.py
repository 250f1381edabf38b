"""Object code of the kernels, for this processor, on standard output.

`decoding.machine_code` runs this in another process and loads the result, which no longer needs numba.
Its only function has numba's calling convention: pointers to the result and to an exception (never
set), then the address of the parameters.
"""

import os
import sys

import llvmlite.binding as llvm
from numba import types

from camhd_access.decoding.kernels.entry import perform
from camhd_access.decoding.machine_code import ENTRY_POINT, processor

__all__ = ["compile_kernels", "main"]


def compile_kernels() -> bytes:
    """The object code, in which `ENTRY_POINT` is `entry.perform`. Takes some seconds."""
    signature = (types.int64,)
    perform.compile(signature)
    name = perform.overloads[signature].fndesc.llvm_func_name
    llvm.initialize_native_asmprinter()
    module = llvm.parse_assembly(perform.inspect_llvm(signature).replace(name, ENTRY_POINT))
    cpu, features = processor()
    # Windows has no JITLink, which would keep the code and its tables together.
    reach = "large" if sys.platform == "win32" else "default"
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=cpu, features=features, opt=3, reloc="pic", codemodel=reach
    )
    object_code: bytes = machine.emit_object(module)
    return object_code


def main() -> None:
    """Write the object code, at low priority: decoding goes first."""
    if hasattr(os, "nice"):  # Windows has priorities of another kind
        os.nice(10)
    sys.stdout.buffer.write(compile_kernels())
