"""Import FAISS, or say which command makes that possible."""

from __future__ import annotations

from importlib import metadata
from types import ModuleType

from cpchub.common.extras import install_command
from cpchub.errors import DependencyError

# Every one of these unpacks into the folder `faiss/`; the last one wins, and removing one breaks the other.
CPU, GPU = ("faiss-cpu",), ("faiss-gpu", "faiss-gpu-cu11", "faiss-gpu-cu12", "faiss-gpu-cuvs")

LITE = "milvus-lite"
BROUGHT = (
    f"\n{LITE} brings {CPU[0]} when it is installed, and works with either of the two; a server of Milvus needs none."
)


def import_faiss() -> ModuleType:
    """The module `faiss`.

    Raises DependencyError where FAISS is missing, broken, or installed as two packages that overwrite each other.
    """
    installed = [name for name in CPU + GPU if _is_installed(name)]
    if len(installed) > 1:
        keep = next(name for name in installed if name in GPU)
        raise DependencyError(
            f"{' and '.join(installed)} are both installed and overwrite each other. Keep one:\n"
            f"    pip uninstall -y {' '.join(installed)} && pip install {keep}\n"
            f"(or {CPU[0]} on a machine without a GPU)" + (BROUGHT if _is_installed(LITE) else "")
        )
    try:
        import faiss
    except (ImportError, RuntimeError, OSError) as error:  # faiss-gpu raises RuntimeError without its CUDA libraries
        raise DependencyError(
            f"search needs FAISS, and it cannot be imported ({error}). Install it with\n"
            f"    {install_command('cpu')}    (with [gpu] in place of [cpu] on a machine with an NVIDIA GPU)"
        ) from error
    if not hasattr(faiss, "IndexFlatIP"):
        raise DependencyError(
            "the folder of FAISS is left over from a package that was removed. Mend it with\n"
            f"    pip install --force-reinstall --no-deps {(installed or CPU)[0]}"
        )
    module: ModuleType = faiss
    return module


def _is_installed(package: str) -> bool:
    try:
        metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return False
    return True
