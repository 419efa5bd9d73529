"""Learn the optical response of crystals: dielectric function and Drude frequency from structure alone.

    import dielectric_gnn as dg

    model = dg.load("runs/mine/checkpoints/best.ckpt")
    silver = model.predict("docs/crystals/fcc_silver.cif")
    silver.n_at(633, "nm"), silver.k_at(633, "nm"), silver.colour

Names are imported when they are first used, so that `import dielectric_gnn` takes no time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dielectric_gnn import export, optics, scaling
    from dielectric_gnn.data import sources
    from dielectric_gnn.data.datamodule import CrystalDataModule
    from dielectric_gnn.models import backbones, heads
    from dielectric_gnn.models.backbones import AtomFeatures, Backbone
    from dielectric_gnn.models.heads import Head
    from dielectric_gnn.optics.spectrum import Spectrum
    from dielectric_gnn.prediction.loading import load
    from dielectric_gnn.pretrained import load_pretrained
    from dielectric_gnn.targets.grid import EnergyGrid
    from dielectric_gnn.training.ensemble import Ensemble
    from dielectric_gnn.training.module import DielectricModule
    from dielectric_gnn.training.trainer import Trainer
    from dielectric_gnn.utils.errors import InputError

__version__ = "0.1.0"

_HOMES = {
    "AtomFeatures": "models.backbones",
    "Backbone": "models.backbones",
    "CrystalDataModule": "data.datamodule",
    "DielectricModule": "training.module",
    "EnergyGrid": "targets.grid",
    "Ensemble": "training.ensemble",
    "Head": "models.heads",
    "InputError": "utils.errors",
    "Spectrum": "optics.spectrum",
    "Trainer": "training.trainer",
    "load": "prediction.loading",
    "load_pretrained": "pretrained",
}
_PACKAGES = {
    "backbones": "models.backbones",
    "export": "export",
    "heads": "models.heads",
    "optics": "optics",
    "scaling": "scaling",
    "sources": "data.sources",
}

__all__ = [  # noqa: RUF022 - classes, functions, packages
    "AtomFeatures",
    "Backbone",
    "CrystalDataModule",
    "DielectricModule",
    "EnergyGrid",
    "Ensemble",
    "Head",
    "InputError",
    "Spectrum",
    "Trainer",
    "load",
    "load_pretrained",
    "backbones",
    "export",
    "heads",
    "optics",
    "scaling",
    "sources",
]


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return import_module(f"{__name__}.{_PACKAGES[name]}")
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
