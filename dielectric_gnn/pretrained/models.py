"""Shipped models: folders of checkpoints, with a card that states what they were trained on and how good they are.

`tools/train_pretrained.py` writes them.
"""

from __future__ import annotations

from pathlib import Path

from dielectric_gnn.optics.intervals import Intervals
from dielectric_gnn.prediction.loading import load
from dielectric_gnn.training.evaluation import ResponseModule
from dielectric_gnn.utils.errors import InputError

FOLDER = Path(__file__).parent
CARD, INTERVALS = "card.md", "intervals.json"
"""Files of a model beside its checkpoints."""


def names() -> list[str]:
    """Names of the shipped models."""
    return sorted(path.parent.name for path in FOLDER.glob(f"*/{CARD}"))


def checkpoints(name: str) -> list[Path]:
    """Checkpoints of the members of a shipped model.

    Raises:
        InputError: There is no such model.
    """
    if name not in names():
        raise InputError(f"pretrained model {name!r}: there is none, expected {' or '.join(names())}")
    return sorted((FOLDER / name).glob("*.ckpt"))


def card(name: str) -> str:
    """Data, recipe, errors and limits of a shipped model, as Markdown."""
    return checkpoints(name)[0].with_name(CARD).read_text(encoding="utf-8")


def load_pretrained(name: str) -> ResponseModule:
    """Load a shipped model, an ensemble, with the intervals of its cross-validation.

    Raises:
        InputError: There is no such model.

    Example:
        >>> model = load_pretrained("metals-gpaw")
        >>> model.intervals.level
        0.9
    """
    paths = checkpoints(name)
    model = load(paths)
    model.intervals = read_intervals(paths[0])
    return model


def read_intervals(checkpoint: Path) -> Intervals | None:
    """The intervals beside a checkpoint; None where there are none.

    Raises:
        InputError: The file is damaged.
    """
    path = checkpoint.with_name(INTERVALS)
    return Intervals.from_json(str(path), path.read_text(encoding="utf-8")) if path.is_file() else None
