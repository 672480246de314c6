"""Write operators one after another: an operator's result is a value, as everywhere in PIR."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from maskserve_convert.paddle.program import Json, Op, Program

_NUMPY_NAMES = {"0.t_f32": "float32", "0.t_i64": "int64", "0.t_bool": "bool", "0.t_i32": "int32"}

# The element type of a sum that is the same as the summands'.
UNCHANGED: Json = {"#": "1.a_dtype", "D": "Undefined(ALL_DTYPE)"}


def f32(*shape: int) -> Json:
    """Return the type of a float32 tensor; -1 stands for a side that is not known."""
    return _tensor("0.t_f32", shape)


def i64(*shape: int) -> Json:
    """Return the type of an int64 tensor."""
    return _tensor("0.t_i64", shape)


def i32(*shape: int) -> Json:
    """Return the type of an int32 tensor."""
    return _tensor("0.t_i32", shape)


def boolean(*shape: int) -> Json:
    """Return the type of a tensor of truth values."""
    return _tensor("0.t_bool", shape)


def flag(value: bool) -> Json:
    """Return an attribute that is a truth value."""
    return {"#": "0.a_bool", "D": value}


def integer(value: int) -> Json:
    """Return an attribute that is a number."""
    return {"#": "0.a_i32", "D": value}


def integers(*values: int, bits: int = 64) -> Json:
    """Return an attribute that is a list of numbers."""
    return {"#": "0.a_array", "D": [{"#": f"0.a_i{bits}", "D": value} for value in values]}


class ProgramBuilder:
    """A program that grows at its end.

    Args:
        program: whose values the new operators may read; it stays as it is.
        begin: how many of its operators are there at the beginning; all by default.
    """

    def __init__(self, program: Program, *, begin: int | None = None) -> None:
        self._ops = list(program.ops[:begin])
        self._next = 1 + max((value for op in program.ops for value in op.outputs), default=0)

    def program(self) -> Program:
        """Return the program with what was added."""
        return Program(tuple(self._ops))

    def append(self, op: Op) -> None:
        """Add an operator as it is."""
        self._ops.append(op)

    def op(self, name: str, inputs: Sequence[int], result: Json, **attributes: Json) -> int:
        """Add an operator with one result, whose type is stated, not inferred."""
        return self.ops(name, inputs, [result], attributes)[0]

    def ops(
        self, name: str, inputs: Sequence[int], results: Sequence[Json], attributes: Mapping[str, Json]
    ) -> tuple[int, ...]:
        """Add an operator with any number of results."""
        values = tuple(range(self._next, self._next + len(results)))
        self._next += len(results)
        flags = [{"#": "0.a_bool", "D": True} for _ in results]
        raw: Json = {
            "#": name if "." in name else f"1.{name}",
            "A": [{"AT": value, "N": key} for key, value in attributes.items()],
            "I": [{"%": value} for value in inputs],
            "O": [{"%": value, "TT": kind} for value, kind in zip(values, results, strict=True)],
            "OA": [{"AT": {"#": "0.a_array", "D": flags}, "N": "stop_gradient"}],
        }
        self._ops.append(Op(raw))
        return values

    def feed(self, name: str, kind: Json) -> int:
        """Add an input to the program."""
        named = {"name": {"#": "0.a_str", "D": name}}
        return self.ops("data", [], [kind], {**named, **_filled(kind, place=[0, 0, ""])})[0]

    def full(self, value: float, kind: Json) -> int:
        """Return a tensor filled with one number."""
        attributes = {"value": {"#": "0.a_f64", "D": float(value)}, **_filled(kind, place=[1, 0, ""])}
        return self.ops("full", [], [kind], attributes)[0]

    def numbers(self, *values: int) -> int:
        """Return a constant: int64 [len(values)]."""
        kind = i64(len(values))
        filled = _filled(kind, place=[1, 0, ""])
        attributes = {"value": integers(*values), "dtype": filled["dtype"], "place": filled["place"]}
        return self.ops("full_int_array", [], [kind], attributes)[0]

    def cast(self, value: int, kind: Json) -> int:
        """Change the element type."""
        return self.op("cast", [value], kind, dtype=_filled(kind, place=[])["dtype"])

    def gather(self, value: int, indices: int, kind: Json) -> int:
        """Take rows."""
        return self.op("gather", [value, indices, self.full(0, i32(1))], kind)

    def concat(self, values: Sequence[int], kinds: Sequence[Json], result: Json) -> int:
        """Join along the first side."""
        vector = self.op("0.combine", values, {"#": "0.t_vec", "D": list(kinds)})
        return self.op("concat", [vector, self.full(0, i32(1))], result)

    def slice(self, value: int, start: int, stop: int, kind: Json, *, axis: int = 0, drop: bool = False) -> int:
        """Take a range of an axis, which vanishes where `drop` says so; `start` and `stop` are int64 [1] values."""
        dropped = integers(*([axis] if drop else []))
        flags = integers(-1)
        return self.op(
            "slice", [value, start, stop], kind, axes=integers(axis), infer_flags=flags, decrease_axis=dropped
        )


def _tensor(dtype: str, shape: Sequence[int]) -> Json:
    return {"#": "0.t_dtensor", "D": [{"#": dtype}, list(shape), "NCHW", [], 0]}


def _filled(kind: Json, *, place: Sequence[int | str]) -> dict[str, Json]:
    """Return the attributes of an operator that makes a tensor out of nothing."""
    dtype, shape, *_ = kind["D"]
    return {
        "shape": {"#": "1.a_intarray", "D": shape},
        "dtype": {"#": "1.a_dtype", "D": _NUMPY_NAMES[dtype["#"]]},
        "place": {"#": "1.a_place", "D": place},
    }
