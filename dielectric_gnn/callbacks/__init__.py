"""What happens around training, test and prediction: checkpoints on signals, progress, figures, reports, files."""

from dielectric_gnn.callbacks.best_checkpoint import BestCheckpoint
from dielectric_gnn.callbacks.figures import SpectrumFigures
from dielectric_gnn.callbacks.graceful_stop import GracefulStop
from dielectric_gnn.callbacks.predictions import PredictionWriter
from dielectric_gnn.callbacks.progress import ProgressBar, TrainingLines
from dielectric_gnn.callbacks.random_state import RandomState
from dielectric_gnn.callbacks.report import TestReport
from dielectric_gnn.callbacks.scaling import ScalingRecord

__all__ = [
    "BestCheckpoint",
    "GracefulStop",
    "PredictionWriter",
    "ProgressBar",
    "RandomState",
    "ScalingRecord",
    "SpectrumFigures",
    "TestReport",
    "TrainingLines",
]
