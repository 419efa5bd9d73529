"""The verbs of the command: LightningCLI with the project's defaults."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.callbacks import ProgressBar as LightningProgressBar
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_info

from dielectric_gnn import pretrained
from dielectric_gnn.cli.command_line import checked_words, with_home
from dielectric_gnn.cli.config_files import in_reading_order
from dielectric_gnn.cli.linked_settings import link_settings
from dielectric_gnn.cli.pretrained_option import with_pretrained
from dielectric_gnn.cli.trainer_parts import as_list, callback_settings, check_devices, fit_callbacks, loggers, quiet
from dielectric_gnn.data.datamodule import CrystalDataModule
from dielectric_gnn.prediction.loading import load_model
from dielectric_gnn.prediction.writer import PredictionWriter
from dielectric_gnn.studies.callback import ScalingRecord
from dielectric_gnn.training.callbacks.figures import SpectrumFigures
from dielectric_gnn.training.callbacks.graceful_stop import GracefulStop
from dielectric_gnn.training.callbacks.progress import ProgressBar, TrainingLines
from dielectric_gnn.training.callbacks.report import TestReport
from dielectric_gnn.training.checkpoint import SECTION, AtomicCheckpointIO, fingerprint, read_checkpoint
from dielectric_gnn.training.ensemble import Ensemble
from dielectric_gnn.training.fine_tuning import load_weights
from dielectric_gnn.training.former_training import check_no_training, discard_training, is_checkpoint_of, overwrites
from dielectric_gnn.training.module import DielectricModule, without_unset
from dielectric_gnn.training.resume import (
    TRAINER_SETTINGS,
    StoredTraining,
    check_callbacks,
    checkpoint_to_continue,
    continuation,
)
from dielectric_gnn.training.run_folder import (
    CHECKPOINTS,
    PREDICTIONS,
    checkpoints_of,
    choose_run_dir,
    final_checkpoint,
    lock_run,
    named_checkpoint,
)
from dielectric_gnn.training.stored_config import check_stored, data_words, default_settings, foreign_classes
from dielectric_gnn.utils.entry import exit_on_mistake
from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.files import check_writable
from dielectric_gnn.utils.locks import FolderLock
from dielectric_gnn.utils.names import check_name, check_seed

EVALUATE = "evaluate"
"""The command that stands for `test --data.all_as test`."""


class DielectricCLI(LightningCLI):
    """LightningCLI whose evaluation verbs take model and data settings from the checkpoint."""

    def __init__(self, args: ArgsType = None) -> None:
        words = sys.argv[1:] if args is None else args
        self._verb = words[0] if isinstance(words, list) and words else ""
        self._lock = FolderLock()
        self._checkpoint_io = AtomicCheckpointIO()
        self._continued: StoredTraining | None = None
        try:
            super().__init__(
                DielectricModule,
                CrystalDataModule,
                save_config_kwargs={"overwrite": True},
                seed_everything_default=1,
                trainer_defaults={"num_sanity_val_steps": 0, "use_distributed_sampler": False, "max_epochs": 500},
                auto_configure_optimizers=False,
                args=args,
                parser_kwargs={"prog": "dielectric-gnn"},
            )
        finally:
            self._lock.release()

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Options beside model, data and trainer."""
        parser.add_argument(
            "--run_dir",
            type=str | None,
            default=None,
            help="Folder for everything this command writes. Default: runs/<date-time> for fit, and the run that the "
            "checkpoint belongs to for the other verbs.",
        )
        parser.add_argument(
            "--requeue",
            type=bool,
            default=False,
            help="In a SLURM job: when SIGUSR1 announces the time limit, write a checkpoint and requeue the job, which "
            "then continues the training.",
        )
        parser.add_argument(
            "--best_min_delta",
            type=float,
            default=0.0,
            help="best.ckpt is replaced only if the validation loss falls by more than this (published study: 1e-3).",
        )
        parser.add_argument(
            "--best_from_epoch",
            type=int,
            default=0,
            help="best.ckpt is written only from this epoch on, counted from 0 (published study: 10).",
        )
        parser.add_lightning_class_args(SpectrumFigures, "figures")
        parser.add_lightning_class_args(PredictionWriter, "predictions")
        parser.set_defaults(
            {
                "model.backbone": {"class_path": "dielectric_gnn.models.backbones.OptiMetal2B"},
                "model.optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"weight_decay": 8e-6}},
            }
        )

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]  # Lightning declares a static method
        """The verbs whose parsers are built: only the one that the command line names, as each takes 0.05 s."""
        verbs = LightningCLI.subcommands()
        return {self._verb: verbs[self._verb]} if self._verb in verbs else verbs

    def setup_parser(self, *args: Any, **kwargs: Any) -> None:
        """Build the parsers, and add the options of single verbs."""
        super().setup_parser(*args, **kwargs)
        options = {"fit": self._add_fit_options, "test": self._add_test_options, "predict": self._add_predict_options}
        for verb in self.subcommands():
            if verb in options:
                options[verb](self._parser(verb))

    @staticmethod
    def _add_fit_options(parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--fine_tune_from",
            type=str | None,
            default=None,
            help="A checkpoint whose weights a new training starts from: those of its backbone, and of the other parts "
            "that fit, such as a head on the same grid. Optimiser, schedule and data start anew. (--ckpt_path "
            "continues a training instead.)",
        )
        parser.add_argument("--study", type=str, default="", help="Name for the run record: of a study.")
        parser.add_argument(
            "--overwrite",
            action="store_true",
            help="Start anew in a folder that holds a training, which is deleted once model and trainer are built: its "
            "checkpoints, record, configuration and logs. Results of tests and predictions stay.",
        )

    def _add_test_options(self, parser: LightningArgumentParser) -> None:
        parser.set_defaults({"verbose": False})  # the report is the better table
        self._add_evaluated_models(parser)

    def _add_predict_options(self, parser: LightningArgumentParser) -> None:
        parser.set_defaults({"return_predictions": False})  # they are in files
        self._add_evaluated_models(parser)
        parser.add_argument(
            "--crystals",
            nargs="+",
            type=str,
            default=None,
            help="Structure files (CIF, POSCAR, pymatgen JSON) and folders of them. Default: the test set.",
        )

    @staticmethod
    def _add_evaluated_models(parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--ensemble",
            nargs="+",
            type=str,
            default=None,
            help="Several checkpoints, in place of --ckpt_path: their mean response is used, and their spread "
            "reported as uncertainty.",
        )
        parser.add_argument(
            "--pretrained",
            type=str,
            default=None,
            help=f"A model of the package, in place of --ckpt_path: {', '.join(pretrained.names())}.",
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse; where a checkpoint is evaluated, parse again with its settings as defaults."""
        args = with_pretrained(checked_words(sys.argv[1:] if args is None else args))
        if isinstance(args, list):
            args = in_reading_order(args)
        self.config = _parsed(parser, args)
        self.trusted: set[str] = set()
        verb = self.config.subcommand
        if verb == "fit":
            if isinstance(args, list):
                link_settings(self.config.fit, args)
            return
        paths = checkpoints_of(self.config[verb])
        if not paths:
            raise InputError(f"{verb} needs a trained model; give --ckpt_path <run_dir>/{CHECKPOINTS}/best.ckpt")
        path = paths[0]
        stored = read_checkpoint(path)[SECTION]["config"]
        if stored is None:
            return  # built in Python: the configuration must come from the command line
        given = self.config[verb].as_dict()
        self.trusted = set(foreign_classes(given))
        check_stored(path, stored, self.trusted)
        defaults = default_settings(path, stored, given["data"], structures_only=bool(given.get("crystals")))
        self._parser(verb).set_defaults(defaults)
        self.config = _parsed(parser, args)

    def _parse_ckpt_path(self) -> None:
        """Take nothing else from a checkpoint: Lightning would parse its hyper-parameters, whatever they name."""

    def before_instantiate_classes(self) -> None:
        """Determine the folder of the run, the checkpoint to resume and the progress display."""
        verb = self.config.subcommand
        config = self.config[verb]
        check_devices(config.trainer.devices, _on_gpus(config.trainer.accelerator))
        self.run_dir = choose_run_dir(config)
        check_writable(self.run_dir)
        self._lock_run(verb)
        config.trainer.default_root_dir = str(self.run_dir)
        if verb == "fit":
            check_name("--study", config.study, empty=True)
            self._overwrites, config.overwrite = overwrites(self.run_dir, config), False  # for this launch alone
            config.ckpt_path = named_checkpoint(self.run_dir, config)
            if not self._overwrites and config.ckpt_path is None:
                self._continued = checkpoint_to_continue(self.run_dir, self._plain_config())
                config.ckpt_path = None if self._continued is None else str(self._continued.path)
            elif not self._overwrites and not is_checkpoint_of(self.run_dir, config.ckpt_path):
                check_no_training(self.run_dir)
        if verb == "predict" and config.crystals:
            config.data.crystals = list(config.crystals)
        if config.trainer.enable_progress_bar is None:
            config.trainer.enable_progress_bar = sys.stdout.isatty()
        if config.trainer.sync_batchnorm and not _on_gpus(config.trainer.accelerator):
            config.trainer.sync_batchnorm = False
            rank_zero_info("sync_batchnorm is for GPUs: on CPUs every process takes statistics of its own batch")
        if config.trainer.enable_model_summary is None:
            config.trainer.enable_model_summary = False
        name = verb if config.data.all_as is None else EVALUATE
        self.save_config_kwargs["config_filename"] = f"{name}.yaml"

    def _lock_run(self, verb: str) -> None:
        self._lock = lock_run(self.run_dir, verb)

    def _set_seed(self) -> None:
        """Seed the generators.

        Raises:
            InputError: The seed, of the configuration or of the environment, is none.
        """
        check_seed("seed_everything", self.config[self.config.subcommand].seed_everything)
        try:
            super()._set_seed()
        except ValueError as error:
            raise InputError(f"the seed cannot be used: {error}") from error

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """A trainer with the project's loggers, callbacks and checkpoint files."""
        config = self.config_init[self.config.subcommand]
        fit = self.config.subcommand == "fit"
        if config.trainer.logger in (None, True):
            kwargs["logger"] = loggers(self.run_dir) if fit else False
        bar = bool(config.trainer.enable_progress_bar)
        callbacks: list[Callback] = [
            ScalingRecord(config.study if fit else ""),  # first: GracefulStop may end a training
            *as_list(config.trainer.callbacks),
            *(self._fit_callbacks(kwargs.get("logger", config.trainer.logger) is not False) if fit else []),
        ]
        callbacks += [TrainingLines(every_epoch=not bar), TestReport()]
        if bar and not any(isinstance(callback, LightningProgressBar) for callback in callbacks):
            callbacks.append(ProgressBar())
        kwargs["callbacks"] = callbacks
        kwargs["enable_checkpointing"] = config.trainer.enable_checkpointing if fit else False
        kwargs["plugins"] = [*as_list(config.trainer.plugins), self._checkpoint_io]
        try:
            return super().instantiate_trainer(**kwargs)
        except InputError:
            raise
        except (MisconfigurationException, ValueError) as error:  # what the trainer checks when it is made
            raise InputError(f"the options of the trainer cannot be used: {' '.join(str(error).split())}") from error

    def _callbacks(self) -> list[Callback]:
        """Those of the trainer, where there is one: the preflight builds none."""
        return list(getattr(self.trainer, "callbacks", []))

    def _fit_callbacks(self, logs: bool) -> list[Callback]:
        config = self.config["fit"]
        saves = config.trainer.enable_checkpointing is not False and not config.trainer.barebones
        best = (config.best_min_delta, config.best_from_epoch)
        return fit_callbacks(self.run_dir, config.requeue, *best, saves=saves, logs=logs)

    def after_instantiate_classes(self) -> None:
        """Build an ensemble, or give the model the configuration that its checkpoints store."""
        verb = self.config.subcommand
        if self.config[verb].get("ensemble"):
            paths = self.config[verb].ensemble
            self.model = Ensemble([load_model(path, sorted(self.trusted)) for path in paths])
            self.model.intervals = pretrained.read_intervals(Path(paths[0]))
            if verb == "predict":
                self._continue_predictions()
            return
        config = self._plain_config()
        self.model.config = config
        if verb == "predict":
            self._continue_predictions()
        if verb == "fit":
            self._take_over(self.config[verb].ckpt_path, self.config[verb].fine_tune_from, config)

    def _plain_config(self) -> dict[str, Any]:
        """The configuration that checkpoints store, in plain types."""
        verb = self.config.subcommand
        plain = json.loads(self._parser(verb).dump(self.config[verb], format="json"))
        settings = {"model": without_unset(plain["model"]), "data": {**plain["data"], "crystals": None}}
        settings["trainer"] = {key: plain["trainer"].get(key) for key in TRAINER_SETTINGS}
        settings["trainer"]["callbacks"] = callback_settings(plain["trainer"].get("callbacks"))
        return {**settings, **{key: plain.get(key) for key in ("seed_everything", "fine_tune_from")}}

    def _take_over(self, ckpt_path: str | None, fine_tune_from: str | None, config: dict[str, Any]) -> None:
        """Report what a resumed training restores, or load weights to fine-tune."""
        if ckpt_path is not None:
            training = self._continued or StoredTraining.from_file(ckpt_path)
            rank_zero_info(continuation(training, config) + check_callbacks(training, self._callbacks()))
            self._checkpoint_io.use_already_read(training.path, training.checkpoint)
            self._continued = None
        elif fine_tune_from is not None:
            rank_zero_info(str(load_weights(self.model, fine_tune_from)))

    def _continue_predictions(self) -> None:
        """Leave out materials that an earlier launch of the same command has predicted."""
        config = self.config["predict"]
        writer: PredictionWriter = self.config_init["predict"].predictions
        paths = checkpoints_of(config)
        model = fingerprint(paths)
        source = f"Model: {', '.join(map(str, paths))} (blake2b {model})."
        self.datamodule.finished = writer.begin(self.run_dir / PREDICTIONS, model, source)

    def after_predict(self) -> None:
        """Write the summary also where nothing was left to predict, and no callback was called."""
        if self.trainer.is_global_zero and not len(self.datamodule.indices["predict"]):
            self.config_init["predict"].predictions.conclude(self.datamodule, self.model)

    def before_fit(self) -> None:
        """Discard an earlier training if told to; note announcements of a time limit while the materials are read."""
        if self._overwrites and self.trainer.is_global_zero:
            discard_training(self.run_dir)
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, GracefulStop):
                callback.listen()

    def after_fit(self) -> None:
        """Print where the results are."""
        final = final_checkpoint(self.run_dir)
        if self.trainer.is_global_zero and final.is_file():
            test = shlex.join(["--ckpt_path", str(final), *data_words(self._plain_config()["data"])])
            sys.stdout.write(
                f"\nTraining is done; everything is in {self.run_dir}/\n"
                f"  dielectric-gnn test {test}\n  tensorboard --logdir {shlex.quote(str(self.run_dir))}\n"
            )


def _parsed(parser: LightningArgumentParser, args: Any) -> Namespace:
    """What LightningCLI parses from words, or from a mapping given in Python."""
    parsed = parser.parse_object(args) if isinstance(args, Mapping | Namespace) else parser.parse_args(args)
    return with_home(parsed)


def _on_gpus(accelerator: Any) -> bool:
    """Whether a training with `trainer.accelerator` runs on GPUs."""
    return accelerator in ("gpu", "cuda") or (accelerator == "auto" and torch.cuda.is_available())


def run(args: list[str] | None = None) -> None:
    """Run a verb; a user's mistake ends the process with one line and status 2."""
    quiet()
    words = sys.argv[1:] if args is None else args
    if words[:1] == [EVALUATE]:
        words = ["test", "--data.all_as", "test", *words[1:]]
        if args is None:
            sys.argv[1:] = words  # Lightning reads them itself, also in the processes that it starts
        else:
            args = words
    with exit_on_mistake():
        DielectricCLI(args)
