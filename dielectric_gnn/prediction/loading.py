"""Loading of trained models from checkpoints."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from dielectric_gnn.training.baseline_module import BaselineModule
from dielectric_gnn.training.checkpoint import SECTION, read_checkpoint
from dielectric_gnn.training.ensemble import Ensemble
from dielectric_gnn.training.evaluation import ResponseModule
from dielectric_gnn.training.module import DielectricModule
from dielectric_gnn.training.stored_config import check_stored
from dielectric_gnn.utils.errors import InputError


def load(path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], trust: Sequence[str] = ()) -> ResponseModule:
    """Load a trained model from a checkpoint, or an ensemble from several, in evaluation mode.

    Args:
        path: A checkpoint, or a list of them.
        trust: As in `load_model`.

    Raises:
        InputError: As for `load_model`; or the members of the ensemble are inconsistent.

    Example:
        silver = load("runs/mine/checkpoints/best.ckpt").predict("silver.cif")
    """
    if isinstance(path, str | os.PathLike):
        return load_model(path, trust)
    return Ensemble([load_model(one, trust) for one in path]).eval()


def load_model(path: str | os.PathLike[str], trust: Sequence[str] = ()) -> DielectricModule | BaselineModule:
    """Build the model that a checkpoint describes and load its weights; the model is in evaluation mode.

    Args:
        path: A checkpoint written by `fit`.
        trust: Class paths outside this package and torch.optim, whose modules the checkpoint may import.

    Raises:
        InputError: The checkpoint is unusable, or its configuration names classes that are not trusted.

    Example:
        model = load_model("runs/mine/checkpoints/best.ckpt")
    """
    checkpoint = read_checkpoint(path)
    config = checkpoint[SECTION]["config"]
    if config is None:
        raise InputError(
            f"{Path(path)}: made from a model built in Python with a part that cannot be stored, such as a lambda; "
            "build it again and load checkpoint['state_dict'], or use classes and functools.partial"
        )
    check_stored(str(path), config, trust)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(DielectricModule, "model")
    model: DielectricModule | BaselineModule = parser.instantiate(parser.parse_object({"model": config["model"]})).model
    model.config = config
    model.on_load_checkpoint(checkpoint)
    model.load_state_dict(checkpoint["state_dict"])
    return model.eval()
