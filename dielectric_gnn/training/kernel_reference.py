"""The composition kernel as a reference in tests: fitted to the training materials of the model that is tested."""

from __future__ import annotations

from typing import Any

import torch

from dielectric_gnn.models.baselines import CompositionKernel
from dielectric_gnn.targets.training_statistics import TrainingStatistics
from dielectric_gnn.training.baseline_module import BaselineModule, fitted_to
from dielectric_gnn.training.evaluation import ResponseModule

MAX_MATERIALS = 10_000
"""Largest training set to which the kernel is fitted within a test, which takes about a quarter of a minute."""


def fitted_kernel(module: ResponseModule, data: Any) -> CompositionKernel | None:
    """The kernel, fitted to the training materials of the tested data; None where it is no reference.

    That is: the model is the kernel, there are no training materials or too many, or they are not those that the model
    was trained on.

    Args:
        module: The model.
        data: The data module of the test.
    """
    train, own = data.indices["train"], module.training_statistics
    is_kernel = isinstance(module, BaselineModule) and type(module.backbone) is CompositionKernel
    if is_kernel or own is None or not 2 <= train.size <= MAX_MATERIALS:
        return None
    if not _same_materials(own, data.training_statistics()):
        return None
    kernel = CompositionKernel()
    kernel.fit(*fitted_to(kernel, data.store, train))
    return kernel.to(module.device)


def verdict(model: float, kernel: float) -> str:
    """One line for a model whose mean loss is not below that of the kernel; empty for one that is better."""
    if not model >= kernel:
        return ""
    return (
        f"This model does not beat the composition kernel (mean loss {model:.3f} against {kernel:.3f}), which uses "
        "composition and density only; see docs/baselines.md\n"
    )


def _same_materials(one: TrainingStatistics, other: TrainingStatistics) -> bool:
    """Whether two training sets are equal, as far as their statistics show."""
    if one.num_materials != other.num_materials or one.mean_eps_inter is None or other.mean_eps_inter is None:
        return False
    means = one.mean_eps_inter.cpu(), other.mean_eps_inter.cpu()
    return means[0].shape == means[1].shape and torch.allclose(*means, rtol=1e-4, atol=1e-4, equal_nan=True)
