"""The methods, one file each: a module whose `forward` is the algorithm, in its paper's order and names.

A file registers its method with `@method(...)`; every file of this folder is imported here, so a new file is all that
a new method takes. All state (queue, bank, key encoder) lives in parameters and buffers, so saving the module saves
the method.
"""

from importlib import import_module
from pkgutil import iter_modules

from cpchub_training.methods.registry import (
    Classifying,
    DataFacts,
    Entry,
    Method,
    Teacher,
    check,
    get,
    method,
    names,
    width_of,
)

__all__ = ["Classifying", "DataFacts", "Entry", "Method", "Teacher", "check", "get", "method", "names", "width_of"]

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
