"""Read a pickle without executing it.

A pickle is a program for a small stack machine. This one runs the part of it that builds lists, dictionaries, numbers
and text, and interprets by itself the few calls of which torch.save makes its tensors. Every other name and call
becomes an `Inert` record of what the file wanted: nothing is imported, called or set. A name of the standard library
that no checkpoint needs (`os.system`, `builtins.eval`) is not even recorded: the file is refused.

Time and memory grow with the length of the pickle and no faster, and its length is limited.
"""

from __future__ import annotations

import pickletools
import warnings
from collections.abc import Callable
from typing import Any, BinaryIO

from cpchub.errors import ImportFormatError, UnsafeWeightsError
from cpchub.importers.readers.calls import Inert, Name, arguments, call, permitted, plain_key
from cpchub.importers.readers.tensors import StorageRecord, TensorRecord

_MARK = object()
_MAX_BITS = 4096  # of a whole number: hashing a larger one again and again would take for ever
_MAX_STEPS = 5_000_000  # the largest checkpoint of a ResNet with its optimiser takes some 20,000


def unpickle(stream: BinaryIO, where: str) -> tuple[Any, dict[str, StorageRecord]]:
    """The value of the pickle at the stream's position, which is then behind it, and the storages it refers to.

    `where` names the file in errors.

    Values are None, numbers, text, bytes, lists, tuples, dictionaries, sets (as lists), `TensorRecord`,
    `StorageRecord`, `Name` and `Inert`. Raises UnsafeWeightsError for a pickle that is made to run code,
    ImportFormatError for one that is damaged or of another kind than torch.save writes.
    """
    machine = _Machine(where)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd escapes in texts that are not ours
            for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
                if count > _MAX_STEPS:
                    raise ImportFormatError(
                        f"{where} has a pickle of over {_MAX_STEPS:,} steps; save the weights alone"
                    )
                machine.step(opcode.name, argument)
    except (ValueError, IndexError, KeyError) as error:  # of pickletools; of the stack; of what was memorised
        if isinstance(error, (ImportFormatError, UnsafeWeightsError)):
            raise
        raise ImportFormatError(f"{where} is damaged: its pickle breaks off ({error}). Fetch the file again") from error
    if machine.result is _MARK:
        raise ImportFormatError(f"{where} is damaged: its pickle has no end. Fetch the file again")
    return machine.result, machine.storages


class _Machine:
    def __init__(self, where: str) -> None:
        self.where = where
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, StorageRecord] = {}
        self.result: Any = _MARK

    def step(self, opcode: str, argument: Any) -> None:
        if opcode in _PUSHES:
            if isinstance(argument, int) and argument.bit_length() > _MAX_BITS:
                raise ValueError(f"a number of {argument.bit_length():,} bits")
            self.stack.append(argument)
        elif opcode in _CONSTANTS:
            self.stack.append(_CONSTANTS[opcode]())
        elif opcode in _STEPS:
            _STEPS[opcode](self, argument)
        else:
            raise ImportFormatError(f"{self.where} has the pickle operation {opcode}, which torch.save does not write")

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise ValueError("a mark where a value should be")
        return value

    def top(self) -> Any:
        value = self.stack[-1]
        if value is _MARK:
            raise ValueError("a mark where a value should be")
        return value

    def pop_mark(self) -> list[Any]:
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:  # IndexError where there is none
            at -= 1
        values = self.stack[at + 1 :]
        del self.stack[at:]
        return values

    def stop(self, _: Any) -> None:
        self.result = self.pop()

    def drop(self, _: Any) -> None:
        self.stack.pop()

    def drop_to_mark(self, _: Any) -> None:
        self.pop_mark()

    def duplicate(self, _: Any) -> None:
        self.stack.append(self.top())

    def tuple_to_mark(self, _: Any) -> None:
        self.stack.append(tuple(self.pop_mark()))

    def list_to_mark(self, _: Any) -> None:
        self.stack.append(self.pop_mark())

    def dict_to_mark(self, _: Any) -> None:
        values = self.pop_mark()
        self.stack.append({})
        self.set_items(values)

    def put(self, index: int) -> None:
        self.memo[index] = self.top()

    def memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.top()

    def get(self, index: int) -> None:
        self.stack.append(self.memo[index])

    def tuple_of(self, count: int) -> None:
        values = [self.pop() for _ in range(count)]
        self.stack.append(tuple(reversed(values)))

    def append(self, values: list[Any]) -> None:
        target = self.top()
        if isinstance(target, list):
            target.extend(values)
        elif isinstance(target, Inert):
            target.elements.extend(values)
        else:
            raise ValueError(f"elements for a {type(target).__name__}")

    def set_items(self, values: list[Any]) -> None:
        if len(values) % 2:
            raise ValueError("a key without a value")
        target = self.top()
        items = target.items if isinstance(target, Inert) else target
        if not isinstance(items, dict):
            raise ValueError(f"items for a {type(target).__name__}")
        for key, value in zip(values[::2], values[1::2], strict=True):
            items[plain_key(key)] = value

    def append_one(self, _: Any) -> None:
        value = self.pop()
        self.append([value])

    def set_item(self, _: Any) -> None:
        value, key = self.pop(), self.pop()
        self.set_items([key, value])

    def global_(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self.stack.append(permitted(module, name, self.where))

    def stack_global(self, _: Any) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise ValueError("a global whose name is not text")
        self.stack.append(permitted(module, name, self.where))

    def reduce(self, _: Any) -> None:
        args, function = self.pop(), self.pop()
        self.stack.append(call(function, args))

    def newobj_ex(self, _: Any) -> None:
        keywords, args, function = self.pop(), self.pop(), self.pop()
        self.stack.append(call(function, (arguments(args), keywords)))  # together: copies of long ones would add up

    def inst(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        args = self.pop_mark()
        self.stack.append(call(permitted(module, name, self.where), tuple(args)))

    def obj(self, _: Any) -> None:
        function, *args = self.pop_mark()
        self.stack.append(call(function, tuple(args)))

    def build(self, _: Any) -> None:
        state, target = self.pop(), self.top()
        if isinstance(target, Inert):
            target.state = state
        elif not isinstance(target, (dict, TensorRecord)):  # their state is _metadata and the like
            raise ValueError(f"a state for a {type(target).__name__}")

    def persistent(self, _: Any) -> None:
        """A storage, as torch.save points to them: its kind, its key, where it was, and its length."""
        reference = self.pop()
        match reference:
            case ("storage", Name() as kind, str() as key, str(), int() as count, *view) if len(view) < 2:
                storage = StorageRecord.of(kind.name, key, count, *view)
                self.storages.setdefault(key, storage)
                self.stack.append(storage)
            case ("module", Name() as kind, _, _):  # a class with its source text, in the older layout
                self.stack.append(kind)
            case _:
                raise ValueError("a reference to something other than a storage")


_PUSHES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
}
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_SET": list,  # its elements need not be hashable then
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "MARK": lambda: _MARK,
}
_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": lambda machine, version: None,
    "FRAME": lambda machine, length: None,
    "STOP": _Machine.stop,
    "POP": _Machine.drop,
    "POP_MARK": _Machine.drop_to_mark,
    "DUP": _Machine.duplicate,
    "PUT": _Machine.put,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": _Machine.memoize,
    "GET": _Machine.get,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "TUPLE": _Machine.tuple_to_mark,
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "LIST": _Machine.list_to_mark,
    "FROZENSET": _Machine.list_to_mark,
    "APPEND": _Machine.append_one,
    "APPENDS": lambda machine, _: machine.append(machine.pop_mark()),
    "ADDITEMS": lambda machine, _: machine.append(machine.pop_mark()),
    "DICT": _Machine.dict_to_mark,
    "SETITEM": _Machine.set_item,
    "SETITEMS": lambda machine, _: machine.set_items(machine.pop_mark()),
    "GLOBAL": _Machine.global_,
    "STACK_GLOBAL": _Machine.stack_global,
    "REDUCE": _Machine.reduce,
    "NEWOBJ": _Machine.reduce,
    "NEWOBJ_EX": _Machine.newobj_ex,
    "INST": _Machine.inst,
    "OBJ": _Machine.obj,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.persistent,
}
