"""The errors cpchub raises on purpose.

Each message names the thing, the value that was seen and the way out. The command line prints the message and
ends with status 2; nothing half-written is left behind. Errors also derive from the built-in a caller would expect
(`KeyError` for a name, `ValueError` for a value), so generic handlers keep working.
"""

from __future__ import annotations

NO_WINDOWS = (
    "cpchub does not run on Windows itself, which has no `fcntl` to lock folders with. It runs there in WSL 2 "
    "(`wsl --install`, then install cpchub in its Linux)"
)


class CpchubError(Exception):
    """Base of every error that cpchub raises on purpose."""

    def __str__(self) -> str:  # KeyError would print the message quoted
        return str(self.args[0]) if self.args else ""


class CpchubWarning(UserWarning):
    """What a caller should know though the work goes on. The command line prints the message as a line of its own."""


class UnknownModelError(CpchubError, KeyError):
    """A model name that is in no catalog; the message offers the nearest names."""


class ArgumentError(CpchubError, TypeError, ValueError):
    """A keyword that a call does not know, or a value it cannot use."""


class WeightsUnavailableError(CpchubError, FileNotFoundError):
    """The model is known but its weights are not to be had here (recipe only, offline, gated, missing)."""


class IntegrityError(CpchubError, ValueError):
    """A file whose sha256 is not the one on record."""


class UnsafeWeightsError(CpchubError, ValueError):
    """Weights in a format that can execute code (pickle); only safetensors are read."""


class HubError(CpchubError, RuntimeError):
    """The Hub refused or could not be reached."""


class HubConflictError(HubError):
    """The repository has changed since it was looked at; nothing of it was overwritten."""


class ModelFolderError(CpchubError, ValueError):
    """A folder that is not a published encoder: config or weights missing or not fitting each other."""


class ImportFormatError(CpchubError, ValueError):
    """A checkpoint that cannot be imported: unknown layout, damaged, or of another network than was said."""


class ExportError(CpchubError, RuntimeError):
    """A network that cannot be written for another runtime, or that does not give the same there."""


class SourceError(CpchubError, ValueError):
    """A source of images that cannot be used: missing, empty, unreadable."""


class BrokenImageError(CpchubError, ValueError):
    """One image that cannot be decoded; the message is the reason that is listed for it."""


class OutputError(CpchubError, ValueError):
    """An output folder that holds something else, is locked by another writer, or cannot be written."""


class NoSpaceError(OutputError):
    """The disk is full; what was complete is kept and the same command goes on from there."""


class WorkerError(CpchubError, RuntimeError):
    """A worker process that ended by itself; what was complete is kept."""


class EncoderMismatchError(CpchubError, ValueError):
    """A collection or a classifier used with an encoder other than the one that it was made with."""


class CollectionError(CpchubError, ValueError):
    """A collection folder that is missing parts, was changed by hand, or comes from a newer version."""


class StoreError(CpchubError, RuntimeError):
    """A store of vectors that cannot be used: not reached, no right to it, too old, or in use by another process."""


class QueryError(CpchubError, ValueError):
    """A search that cannot be answered as asked (k too large, empty query, wrong dimension)."""


class LabelError(CpchubError, ValueError):
    """Labels that do not fit: unknown paths, one class only, too few."""


class ClassifierError(CpchubError, ValueError):
    """A folder that is not a saved classifier, or one that is damaged or comes from a newer version."""


class RecipeError(CpchubError, ValueError):
    """A training recipe with a field, value or combination that cannot work."""


class RunError(CpchubError, RuntimeError):
    """A training run that cannot go on: other recipe in the folder, diverged, checkpoint damaged."""


class OtherRunError(RunError):
    """A run folder that holds the run of another recipe, or of other images."""


class DependencyError(CpchubError, ImportError):
    """A package that is missing, or two packages that break each other; the message has the command to run."""
