"""Machine operations that numba does not offer, as functions for kernels.

Addresses are int64, as are all numbers of the kernels. A function below with the decorator `operation` emits
LLVM; kernels call it with the arguments listed in its decorator.
"""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from camhd_access.decoding.machine_code import processor

__all__ = [
    "FLOAT",
    "Builder",
    "Value",
    "add_i16",
    "address_of",
    "clear_bytes",
    "copy_bytes",
    "has_feature",
    "i64",
    "inlined",
    "kernel",
    "leading_zeros",
    "likely",
    "load_be64",
    "load_i32",
    "load_i64",
    "load_u8",
    "load_u16",
    "load_u32",
    "load_u64",
    "lshr",
    "operation",
    "prefetch",
    "store_i16",
    "store_i64",
    "store_u32",
    "trailing_zeros",
    "vector",
    "void",
]

Builder: TypeAlias = Any
Value: TypeAlias = Any
"""From llvmlite, which has no types."""

i64, void = types.int64, types.void
BYTE, WORD, BIT, INT32, FLOAT = (*map(ir.IntType, (8, 64, 1, 32)), ir.FloatType())


_COMPILED: Any = partial(njit, _nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True)
kernel: Any = _COMPILED()
"""Decorator of a function that only kernels call. It cannot allocate memory."""
inlined: Any = _COMPILED(forceinline=True)
"""Likewise, for a function that is inlined."""


def vector(kind: ir.Type | int, n: int) -> ir.VectorType:
    """The type of a vector of `n` numbers: of a type, or integers of this many bits."""
    return ir.VectorType(ir.IntType(kind) if isinstance(kind, int) else kind, n)


def operation(result: Any, *arguments: Any) -> Callable[[Callable[..., Any]], Any]:  # noqa: ANN401 - numba's types
    """Make a kernel function from one that emits its LLVM; `result` and `arguments` are numba types."""

    def decorate(emit: Callable[..., Any]) -> Any:  # noqa: ANN401 - numba's
        def typer(_: object, *__: object) -> Any:  # noqa: ANN401 - numba's
            def generate(context: Any, builder: Builder, _: object, values: list[Value]) -> Value:  # noqa: ANN401
                value = emit(builder, *values)
                return context.get_dummy_value() if result is void else value

            return result(*arguments), generate

        names = ["typing_context", *list(inspect.signature(emit).parameters)[1:]]
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        typer.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in names])  # type: ignore[attr-defined]
        typer.__name__ = emit.__name__
        return intrinsic(typer)

    return decorate


def has_feature(name: str) -> bool:
    """Whether the processor for which code is made has this instruction set, by LLVM's name of it."""
    return f"+{name}" in processor()[1].split(",")


def address_of(b: Builder, base: Value, n_bytes: Value, kind: ir.Type) -> Value:
    """A pointer to a `kind` at base + n_bytes."""
    pointer = b.gep(b.inttoptr(base, BYTE.as_pointer()), [n_bytes])
    return b.bitcast(pointer, kind.as_pointer())


def _make_load(bits: int) -> Any:  # noqa: ANN401 - numba's
    """An item of an array of unsigned integers of this many bits."""
    kind = ir.IntType(bits)

    @operation(i64, i64, i64)
    def load(b: Builder, base: Value, index: Value) -> Value:
        value = b.load(address_of(b, base, b.mul(index, WORD(bits // 8)), kind), align=1)
        return value if kind == WORD else b.zext(value, WORD)

    return load


def _make_store(bits: int) -> Any:  # noqa: ANN401 - numba's
    """Set an item of an array of integers of this many bits."""
    kind = ir.IntType(bits)

    @operation(void, i64, i64, i64)
    def store(b: Builder, base: Value, index: Value, value: Value) -> None:
        value = value if kind == WORD else b.trunc(value, kind)
        b.store(value, address_of(b, base, b.mul(index, WORD(bits // 8)), kind), align=1)

    return store


load_u8, load_u16, load_u32, load_u64 = map(_make_load, (8, 16, 32, 64))
load_i64 = load_u64
store_u8, store_i16, store_u32, store_i64 = map(_make_store, (8, 16, 32, 64))


@operation(i64, i64, i64)
def load_i32(b: Builder, base: Value, index: Value) -> Value:
    """An item of an array of signed integers of 32 bits."""
    return b.sext(b.load(address_of(b, base, b.mul(index, WORD(4)), INT32), align=1), WORD)


@operation(void, i64, i64, i64)
def add_i16(b: Builder, base: Value, index: Value, value: Value) -> None:
    """Add to an item of an array of integers of 16 bits."""
    item = address_of(b, base, b.mul(index, WORD(2)), ir.IntType(16))
    b.store(b.add(b.load(item, align=1), b.trunc(value, ir.IntType(16))), item, align=1)


@operation(i64, i64)
def load_be64(b: Builder, address: Value) -> Value:
    """Eight bytes, most significant first."""
    return b.bswap(b.load(address_of(b, address, WORD(0), WORD), align=1))


@operation(i64, i64, i64)
def lshr(b: Builder, value: Value, n: Value) -> Value:
    """`value` >> n with zeros from above."""
    return b.lshr(value, n)


@operation(i64, i64)
def leading_zeros(b: Builder, value: Value) -> Value:
    """Zeros above the highest 1 bit of `value`, which is not 0."""
    return b.ctlz(value, BIT(1))


@operation(i64, i64)
def trailing_zeros(b: Builder, value: Value) -> Value:
    """Zeros below the lowest 1 bit of `value`, which is not 0."""
    return b.cttz(value, BIT(1))


@operation(types.boolean, types.boolean)
def likely(b: Builder, condition: Value) -> Value:
    """`condition`, which is usually true."""
    expect = b.module.declare_intrinsic("llvm.expect", [BIT], ir.FunctionType(BIT, [BIT, BIT]))
    return b.call(expect, [condition, BIT(1)])


@operation(void, i64, i64, i64)
def copy_bytes(b: Builder, target: Value, source: Value, n_bytes: Value) -> None:
    """Copy between two places that do not overlap."""
    pointer = BYTE.as_pointer()
    copy = b.module.declare_intrinsic("llvm.memcpy", [pointer, pointer, WORD])
    zero = WORD(0)
    b.call(copy, [address_of(b, target, zero, BYTE), address_of(b, source, zero, BYTE), n_bytes, BIT(0)])


@operation(void, i64, i64)
def clear_bytes(b: Builder, target: Value, n_bytes: Value) -> None:
    """Set bytes to 0."""
    clear = b.module.declare_intrinsic("llvm.memset", [BYTE.as_pointer(), WORD])
    b.call(clear, [address_of(b, target, WORD(0), BYTE), BYTE(0), n_bytes, BIT(0)])


@operation(void, i64, i64)
def prefetch(b: Builder, address: Value, offset: Value) -> None:
    """Bring a cache line that will be written soon."""
    pointer, number = BYTE.as_pointer(), INT32
    kind = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
    fetch = b.module.declare_intrinsic("llvm.prefetch", [pointer], kind)
    b.call(fetch, [address_of(b, address, offset, BYTE), number(1), number(3), number(1)])
