"""The names and calls in a pickle: some are refused, a few interpreted, the others become a record of themselves."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cpchub.errors import UnsafeWeightsError
from cpchub.importers.readers.tensors import TensorRecord

_PATHS = {"Path", "PosixPath", "PurePath", "PurePosixPath", "PureWindowsPath", "WindowsPath"}
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
    "pathlib": _PATHS,
    "pathlib._local": _PATHS,  # Python 3.13
    "types": {"SimpleNamespace", "NoneType"},
    "typing": {"Any", "Union", "Optional", "List", "Dict", "Tuple", "Literal"},
}
_PYTHON_2 = {"__builtin__": "builtins", "copy_reg": "copyreg", "exceptions": "builtins", "commands": "subprocess"}
_SCALARS = (str, int, float, bool, bytes, type(None))
_LONGEST_NAME = 300  # every record of a call has its own copy
_MOST_ARGUMENTS = 16  # of a call that is interpreted
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


def permitted(module: str, name: str, where: str) -> Name:
    """The name, unless it can only be there to do harm: UnsafeWeightsError, naming it and the file.

    Raises ValueError for what no module or class can be called.
    """
    if len(module) + len(name) > _LONGEST_NAME or not f"{module}{name}".isprintable():
        raise ValueError("a global whose name is none")
    module = _PYTHON_2.get(module, module)
    package = module.partition(".")[0]
    if package in sys.stdlib_module_names and name not in _HARMLESS.get(module, ()):
        raise UnsafeWeightsError(
            f"{where} is not only weights: opened by torch.load, it would reach for {module}.{name}. It was not "
            "imported and nothing of it was run. Do not use it, and ask where it comes from"
        )
    return Name(module, name)


def call(function: Any, args: Any) -> Any:
    """What a call gives: a plain value for the few that are interpreted, else a record of the call."""
    args = arguments(args)
    origin = str(function) if isinstance(function, Name) else "what another call gives"
    interpret = _CALLS.get(origin)
    value = interpret(*args) if interpret and _fits(interpret, args) else None
    return Inert(origin, args) if value is None else value


def arguments(args: Any) -> tuple[Any, ...]:
    """The arguments of a call; ValueError where they are none."""
    if not isinstance(args, tuple):
        raise ValueError("a call whose arguments are no tuple")
    return args


def _fits(function: Callable[..., Any], args: tuple[Any, ...]) -> bool:
    """Whether the function can take that many arguments."""
    defaults = len(function.__defaults__ or ())
    count = function.__code__.co_argcount
    most = _MOST_ARGUMENTS if function.__code__.co_flags & inspect.CO_VARARGS else count
    return count - defaults <= len(args) <= most


def _origin(value: Any) -> str:
    return value.origin if isinstance(value, Inert) else type(value).__name__


def plain_key(key: Any) -> Any:
    """A key that can be hashed in no time; a tuple of other things could be arbitrarily deep."""
    return key if isinstance(key, _SCALARS) else f"<{_origin(key)}>"


def _dict(items: Any = None, *_: Any) -> dict[Any, Any] | None:
    if items is None:
        return {}
    if isinstance(items, list):  # Python 2 wrote ordered dictionaries like this
        if not all(isinstance(each, (list, tuple)) and len(each) == 2 for each in items):
            raise ValueError("a dictionary of what are no pairs")
        made = {plain_key(key): value for key, value in items}
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
    return _same(call(function, args)) if plain and isinstance(args, tuple) else None


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
