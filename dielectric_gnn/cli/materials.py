"""All labelled materials of a configuration of `fit`, without a training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dielectric_gnn.cli.doctor.command import built
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.training.stored_config import data_words, foreign_classes
from dielectric_gnn.utils.errors import InputError


class ConfiguredMaterials(NamedTuple):
    """The materials, and what commands that use the checkpoints of trainings on them need.

    Args:
        store: All labelled materials, of all parts of the split.
        data_words: Options that contain the paths of the data, which are not taken from checkpoints.
        trusted: Class paths outside this package that the configuration names.
    """

    store: CrystalStore
    data_words: list[str]
    trusted: list[str]


def read_configuration(words: Sequence[str]) -> ConfiguredMaterials:
    """Build model and data of `dielectric-gnn fit`, and read the materials.

    Args:
        words: Options of `fit`.

    Raises:
        InputError: A mistake in the options, or the materials cannot be read or have no labels.
    """
    cli = built(list(words))
    plain = cli._plain_config()
    if plain["data"].get("train_ids") is not None:
        raise InputError("data.train_ids names the training materials, which the folds determine; set it to null")
    data = cli.datamodule
    data.all_as = "test"
    data.setup("test")
    if data.store.eps_inter is None:
        raise InputError("these materials have no spectra to compare with; use a source with labels")
    return ConfiguredMaterials(data.store, data_words(plain["data"]), sorted(foreign_classes(plain)))
