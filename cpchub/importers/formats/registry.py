"""The formats that `cpchub import` knows, and the choice among them."""

from __future__ import annotations

from cpchub.errors import ImportFormatError
from cpchub.importers.format import NOTHING_CLAIMED, Checkpoint, Claims, Format
from cpchub.importers.format_names import check_format
from cpchub.importers.formats.bolts import BoltsCpc, BoltsSimclr
from cpchub.importers.formats.cmc import Cmc
from cpchub.importers.formats.google_simclr import GoogleSimclr
from cpchub.importers.formats.lemniscate import Lemniscate
from cpchub.importers.formats.lightly import Lightly
from cpchub.importers.formats.moco import Moco, MocoV3
from cpchub.importers.formats.openmmlab import OpenMMLab
from cpchub.importers.formats.plain import Timm, Torchvision
from cpchub.importers.formats.pycontrast import PyContrast
from cpchub.importers.formats.separius import Separius
from cpchub.importers.formats.simsiam import SimSiam
from cpchub.importers.formats.solo_learn import SoloLearn
from cpchub.importers.formats.sup_contrast import SupContrast
from cpchub.importers.formats.swav import Swav
from cpchub.importers.formats.tonylins import Tonylins
from cpchub.importers.formats.vissl import Vissl

FORMATS: list[Format] = [
    Moco(),
    MocoV3(),
    GoogleSimclr(),
    Tonylins(),
    Separius(),
    Lemniscate(),
    Cmc(),
    PyContrast(),
    SupContrast(),
    Swav(),
    SimSiam(),
    SoloLearn(),
    Lightly(),
    BoltsCpc(),
    BoltsSimclr(),
    Vissl(),
    OpenMMLab(),
    Torchvision(),
    Timm(),
]


def format_of(checkpoint: Checkpoint, name: str | None = None, claims: Claims = NOTHING_CLAIMED) -> Format:
    """The format called `name`, or the one that is surest of the file.

    A network that is claimed to be one of timm's needs no layout that is known: its tensors have timm's names.

    Raises ImportFormatError where there is none, and where two are equally sure.
    """
    known = {each.name: each for each in FORMATS}
    if name is not None:
        check_format(name)
        return known[name]
    ranked = sorted(((each.detect(checkpoint), each.name) for each in FORMATS), reverse=True)
    sure = [each for confidence, each in ranked if confidence > 0 and confidence == ranked[0][0]]
    if len(sure) == 1:
        return known[sure[0]]
    if sure:
        raise ImportFormatError(f"{checkpoint.path.name} may be {' or '.join(sorted(sure))}; say which with --as")
    if claims.architecture is not None:
        return known["timm"]
    tensors = list(checkpoint.tensors)
    has = f"its tensors are {', '.join(tensors[:3])}, ... ({len(tensors)})" if tensors else "it has no tensors"
    raise ImportFormatError(
        f"{checkpoint.path.name} has no layout that is known here: {has}. Known: {', '.join(known)}; "
        "to force one, pass it with --as; if it is a network of timm's, give its name with --architecture"
    )
