"""A training on a label that is not finite, through the real command: one line, and no checkpoint."""

from pathlib import Path

import pytest

from tests.commands import SMALL_MODEL, Command

SOURCE = '''
from dielectric_gnn.data.sources import ExampleMetals


class OneBadLabel(ExampleMetals):
    """The embedded metals; one label is spoilt after it was checked, as memory or a disk may do."""

    def records(self, on_error="raise"):
        for record in super().records(on_error):
            if record.material_id == self.split()["train"][3]:
                record.labels.eps_inter[0, 5] = float("nan")
            yield record
'''


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_bad_label_ends_a_training_in_one_line(processes: str, command: Command, tmp_path: Path) -> None:
    (tmp_path / "bad_source.py").write_text(SOURCE)
    several = () if processes == "1" else ("--trainer.devices", processes, "--trainer.strategy", "ddp")
    words = ("fit", "--config", "configs/base.yaml", *SMALL_MODEL, *several, "--data.source", "bad_source.OneBadLabel")
    result = command(*words, "--run_dir", str(tmp_path / "run"), status=2, paths=(tmp_path,))
    errors = {line for line in result.stderr.splitlines() if line.startswith("error: ")}
    assert len(errors) == 1 and "Traceback" not in result.stderr
    assert "label of material gpaw-" in errors.pop()
    assert not list((tmp_path / "run").rglob("*.ckpt"))
