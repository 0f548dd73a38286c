"""Read a pickle without executing it.

A pickle is a program for a small stack machine. This one runs the part of it that builds lists, dictionaries, numbers
and text, and interprets by itself the few calls of which torch.save makes its tensors. Every other name and call
becomes an `Inert` record of what the file wanted: nothing is imported, called or set. A name of the standard library
that no checkpoint needs (`os.system`, `builtins.eval`) is not even recorded: the file is refused.

Time and memory grow with the length of the pickle and no faster, and its length is limited.
"""

from __future__ import annotations

import pickletools
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from cpchub.errors import ImportFormatError, UnsafeWeightsError
from cpchub.importers.tensors import StorageRecord, TensorRecord

# The parts of the standard library that checkpoints have objects of, none of which matters here.
_HARMLESS = {
    "_codecs": {"encode"},
    "argparse": {"Namespace"},
    "builtins": {
        *("bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "object", "range"),
        *("set", "slice", "str", "tuple", "type", "getattr"),  # enum members are pickled as a getattr
    },
    "collections": {"OrderedDict", "defaultdict", "Counter", "deque"},
    "copyreg": {"_reconstructor", "__newobj__"},
    "datetime": {"date", "datetime", "time", "timedelta", "timezone"},
    "enum": {"Enum", "IntEnum"},
    "functools": {"partial"},
    "logging": {"Logger", "getLogger"},
    "pathlib": {"Path", "PosixPath", "PurePath", "PurePosixPath", "PureWindowsPath", "WindowsPath"},
    "types": {"SimpleNamespace", "NoneType"},
    "typing": {"Any", "Union", "Optional", "List", "Dict", "Tuple", "Literal"},
}
_PYTHON_2 = {"__builtin__": "builtins", "copy_reg": "copyreg", "exceptions": "builtins", "commands": "subprocess"}
_SCALARS = (str, int, float, bool, bytes, type(None))
_MARK = object()
_MAX_STEPS = 5_000_000  # the largest checkpoint of a ResNet with its optimiser takes some 20,000
_LONGEST_SCALAR = 32  # bytes of a number of numpy's


@dataclass(frozen=True)
class Name:
    """A global that the file names; it is never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False, repr=False)
class Inert:
    """An object that the file would have made by calling `origin`; only what it was to be made from."""

    origin: str
    args: tuple[Any, ...] = ()
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)
    elements: list[Any] = field(default_factory=list)


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
            items[_key(key)] = value

    def append_one(self, _: Any) -> None:
        value = self.pop()
        self.append([value])

    def set_item(self, _: Any) -> None:
        value, key = self.pop(), self.pop()
        self.set_items([key, value])

    def global_(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self.stack.append(self.name(module, name))

    def stack_global(self, _: Any) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise ValueError("a global whose name is not text")
        self.stack.append(self.name(module, name))

    def name(self, module: str, name: str) -> Name:
        """The name, unless it can only be there to do harm."""
        module = _PYTHON_2.get(module, module)
        package = module.partition(".")[0]
        if package in sys.stdlib_module_names and name not in _HARMLESS.get(module, ()):
            raise UnsafeWeightsError(
                f"{self.where} is not only weights: opened by torch.load, it would reach for {module}.{name}. It was "
                "not imported and nothing of it was run. Do not use it, and ask where it comes from"
            )
        return Name(module, name)

    def reduce(self, _: Any) -> None:
        args, function = self.pop(), self.pop()
        self.stack.append(_call(function, args))

    def newobj_ex(self, _: Any) -> None:
        keywords, args, function = self.pop(), self.pop(), self.pop()
        self.stack.append(_call(function, (*_args(args), keywords)))

    def inst(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        args = self.pop_mark()
        self.stack.append(_call(self.name(module, name), tuple(args)))

    def obj(self, _: Any) -> None:
        function, *args = self.pop_mark()
        self.stack.append(_call(function, tuple(args)))

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


def _call(function: Any, args: Any) -> Any:
    args = _args(args)
    origin = str(function) if isinstance(function, Name) else "what another call gives"
    interpret = _CALLS.get(origin)
    value = interpret(*args) if interpret and _fits(interpret, args) else None
    return Inert(origin, args) if value is None else value


def _args(args: Any) -> tuple[Any, ...]:
    if not isinstance(args, tuple):
        raise ValueError("a call whose arguments are no tuple")
    return args


def _fits(function: Callable[..., Any], args: tuple[Any, ...]) -> bool:
    """Whether the function can take that many arguments."""
    defaults = len(function.__defaults__ or ())
    count = function.__code__.co_argcount
    return len(args) >= count - defaults and (len(args) <= count or bool(function.__code__.co_flags & 0x04))


def _origin(value: Any) -> str:
    return value.origin if isinstance(value, Inert) else type(value).__name__


def _key(key: Any) -> Any:
    """A key that can be hashed in no time; a tuple of other things could be arbitrarily deep."""
    return key if isinstance(key, _SCALARS) else f"<{_origin(key)}>"


def _dict(items: Any = None, *_: Any) -> dict[Any, Any] | None:
    if items is None:
        return {}
    if isinstance(items, list) and all(isinstance(each, (list, tuple)) and len(each) == 2 for each in items):
        made = {_key(key): value for key, value in items}  # Python 2 wrote ordered dictionaries like this
        items.clear()  # or a short pickle could have a long list copied over and over
        return made
    return items if isinstance(items, dict) else None


def _defaultdict(*_: Any) -> dict[Any, Any]:
    return {}


def _plain_sequence(values: Any = ()) -> Any:
    return values if isinstance(values, (list, tuple)) else None


def _text(value: Any, *_: Any) -> str | None:
    return value if isinstance(value, str) else None


def _encode(text: Any, encoding: Any = "latin1") -> bytes | None:
    if not isinstance(text, str) or encoding != "latin1" or len(text) > _LONGEST_SCALAR:
        return None
    return text.encode(encoding)


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> TensorRecord | None:
    return TensorRecord.of(storage, offset, size, stride)


def _tensor_v3(
    storage: Any, offset: Any, size: Any, stride: Any, grad: Any, hooks: Any, dtype: Any, *_: Any
) -> TensorRecord | None:
    return TensorRecord.of(storage, offset, size, stride, dtype.name if isinstance(dtype, Name) else None)


def _same(value: Any, *_: Any) -> TensorRecord | None:
    return value if isinstance(value, TensorRecord) else None


def _of_subclass(function: Any, kind: Any, args: Any, *_: Any) -> TensorRecord | None:
    """A tensor of a subclass is made by one of the plain functions; by another of these, it could nest for ever."""
    plain = isinstance(function, Name) and _CALLS.get(str(function)) in (_tensor, _tensor_v3, _same)
    return _same(_call(function, args)) if plain and isinstance(args, tuple) else None


_CALLS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _dict,
    "collections.Counter": _dict,
    "collections.defaultdict": _defaultdict,
    "builtins.dict": _dict,
    "builtins.set": _plain_sequence,
    "builtins.frozenset": _plain_sequence,
    "builtins.list": _plain_sequence,
    "builtins.tuple": _plain_sequence,
    "torch.Size": _plain_sequence,
    "torch.device": _text,
    "_codecs.encode": _encode,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_parameter": _same,
    "torch._utils._rebuild_parameter_with_state": _same,
    "torch._tensor._rebuild_from_type_v2": _of_subclass,
}

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
