"""Interrupted builds are continued, and end with the same bytes."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sources import RecordSource, SyntheticMetals
from dielectric_gnn.data.sources.base import OnError, Tasks
from dielectric_gnn.data.splits import composition_split
from dielectric_gnn.data.store import prepare
from dielectric_gnn.data.store import writer as store_writer
from dielectric_gnn.data.store.appendable import AppendableArray
from dielectric_gnn.data.store.builder import StoreBuilder, partial_folder
from dielectric_gnn.data.store.check import verify_store
from dielectric_gnn.data.store.files import open_store
from dielectric_gnn.data.store.prepare import BuildOptions, build_store
from dielectric_gnn.data.store.rows import Recipe
from dielectric_gnn.data.store.writer import write_store
from dielectric_gnn.utils.errors import InputError, RecordError

OPTIONS = BuildOptions(cutoff=4.0, spectra="float16", on_error="skip")


class Troubled(SyntheticMetals):
    """150 synthetic crystals; number 70 is bad, and number 140 has the name of number 3."""

    def __init__(self, rattle: float = 0.0) -> None:
        super().__init__(150, rattle=rattle)

    def crystal(self, index: int) -> CrystalRecord:
        if index == 70:
            raise RecordError("synthetic crystal 70", "it is bad")
        record = super().crystal(index)
        return replace(record, material_id=super().crystal(3).material_id) if index == 140 else record


def build(folder: Path, source: RecordSource | None = None, options: BuildOptions = OPTIONS) -> list[RecordError]:
    return build_store(source or Troubled(), folder, options, "troubled")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A store that was built in one go."""
    folder = tmp_path_factory.mktemp("whole") / "store"
    assert [error.source for error in build(folder)] == ["synthetic crystal 70", "synthetic crystal 140"]
    assert [path.name for path in sorted(folder.parent.iterdir())] == ["store", "store_rejects.csv"]
    return contents(folder)


@pytest.fixture
def interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a store was being built, until Ctrl-C after two chunks of 64."""
    interrupt(tmp_path / "store", monkeypatch, after=2)
    return tmp_path / "store"


def interrupt(folder: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    done = 0

    def add_chunk(*args: object) -> None:
        nonlocal done
        if done == after:
            raise KeyboardInterrupt
        done += 1
        store_writer.add_chunk(*args)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(prepare, "add_chunk", add_chunk)
        with pytest.raises(KeyboardInterrupt):
            build(folder)
    assert not folder.exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_interrupted_build_is_continued(interrupted: Path, whole: dict[str, bytes], workers: int) -> None:
    read = []

    class Counted(Troubled):
        def crystal(self, index: int) -> CrystalRecord:
            read.append(index)
            return super().crystal(index)

    source = Counted() if workers == 1 else Troubled()
    rejects = build(interrupted, source, replace(OPTIONS, workers=workers))
    assert [error.problem for error in rejects] == [
        "it is bad",
        "material id 'synthetic-0-000003' was read from synthetic crystal 3 already",
    ]
    assert contents(interrupted) == whole
    assert not partial_folder(interrupted).exists()
    assert read == list(range(128, 150)) or workers == 2
    verify_store(interrupted)


def test_nothing_is_kept_of_a_build_that_did_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(tmp_path / "store", monkeypatch, after=0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("trial", range(12))
def test_any_state_of_the_disk_after_a_power_failure(interrupted: Path, whole: dict[str, bytes], trial: int) -> None:
    """Files cut at random places, with bytes turned or zeroed, as a power failure may leave them."""
    rng = np.random.default_rng(trial)
    for path in sorted(partial_folder(interrupted).rglob("*")):
        if path.suffix in (".npy", ".jsonl") and rng.random() < 0.5:
            content = bytearray(path.read_bytes())
            place = int(rng.integers(len(content)))
            damage = rng.integers(4)
            if damage == 0:
                content = content[:place]
            elif damage == 1:
                content[place] ^= 4
            elif damage == 2:
                content[place:] = bytes(len(content) - place)
            else:
                content += bytes(rng.integers(0, 256, size=50, dtype=np.uint8))
            path.write_bytes(content)
    build(interrupted)
    assert contents(interrupted) == whole


def test_interruption_at_the_very_end(tmp_path: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """After the last material, before and within the renaming, and before the cleaning."""
    target = tmp_path / "store"

    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    for place in ("write_metadata", "_put_in_place"):
        with monkeypatch.context() as patch:
            patch.setattr(store_writer, place, stop)
            with pytest.raises(KeyboardInterrupt):
                build(target)
        assert not target.exists()
    build(target)
    assert contents(target) == whole
    again = replace(OPTIONS, overwrite=True)
    real = Path.rename
    with monkeypatch.context() as patch:
        patch.setattr(
            Path, "rename", lambda path, to: stop() if path.name == "store" and to == target else real(path, to)
        )
        with pytest.raises(KeyboardInterrupt):
            build(target, options=again)
    assert not target.exists()  # the old one is aside for this moment
    build(target, options=again)
    assert contents(target) == whole
    with monkeypatch.context() as patch:
        patch.setattr(StoreBuilder, "discard", stop)
        with pytest.raises(KeyboardInterrupt):
            build(target, options=again)
    with pytest.raises(InputError, match="exists already"):
        build(target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store", "store_rejects.csv"]
    assert contents(target) == whole


def test_unfinished_build_of_another_plan(interrupted: Path) -> None:
    for source, options, message in (
        (Troubled(), replace(OPTIONS, cutoff=5.0), "unfinished build with cutoff 4.0, not 5.0; repeat the command"),
        (Troubled(), replace(OPTIONS, tensors=True), "with tensors False, not True"),
        (Troubled(rattle=0.1), OPTIONS, "with source 'synthetic, .* rattle 0.0, .*discard it with --restart"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            build(interrupted, source, options)
        assert str(partial_folder(interrupted)) in str(caught.value) and "\n" not in str(caught.value)
    build(interrupted, options=replace(OPTIONS, cutoff=5.0, restart=True))
    assert open_store(interrupted)[0].cutoff == 5.0


def test_rejects_of_the_first_part_stop_a_strict_second(interrupted: Path) -> None:
    with pytest.raises(RecordError, match="crystal 70: it is bad"):
        build(interrupted, options=replace(OPTIONS, on_error="raise"))
    build(interrupted)


def test_strict_build_keeps_what_is_before_the_bad_one(tmp_path: Path, whole: dict[str, bytes]) -> None:
    with pytest.raises(RecordError, match="crystal 70: it is bad"):
        build(tmp_path / "store", options=replace(OPTIONS, on_error="raise"))
    assert len((partial_folder(tmp_path / "store") / "journal.jsonl").read_text().splitlines()) == 1
    build(tmp_path / "store")
    assert contents(tmp_path / "store") == whole


def test_two_builds_at_once(tmp_path: Path) -> None:
    target = tmp_path / "store"
    with (
        StoreBuilder(target, Recipe(4.0, "float16", False), {}),
        pytest.raises(InputError, match="in use by the build of this store, process"),
    ):
        build(target)


def test_full_disk(tmp_path: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """An old store stays, and when there is space the build is continued."""
    target = tmp_path / "store"
    build(target, SyntheticMetals(80))
    old, real, space = contents(target), AppendableArray.append, 16

    def append(array: AppendableArray, rows: np.ndarray) -> None:
        nonlocal space
        space -= 1
        if space < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(array, rows)

    options = replace(OPTIONS, overwrite=True)
    with monkeypatch.context() as patch:
        patch.setattr(AppendableArray, "append", append)
        with pytest.raises(InputError, match=r"no space is left on the disk after 127 materials .*repeat the command"):
            build(target, options=options)
    assert contents(target) == old
    build(target, options=options)
    assert contents(target) == whole and not partial_folder(target).exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts a disk of a given size (kB), in memory, where that is permitted."""
    mounted = tmp_path / "small"
    mounted.mkdir()

    def mount(size: int, how: str = "") -> Path:
        command = ["mount", "-t", "tmpfs", "-o", f"{how}size={size}k", "tmpfs", str(mounted)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"mounting a small disk is not permitted here ({error})")
        return mounted

    yield mount
    if os.path.ismount(mounted):
        subprocess.run(["umount", str(mounted)], check=True)


def test_really_full_disk(small_disk: Callable[..., Path], whole: dict[str, bytes]) -> None:
    target = small_disk(1000) / "store"
    with pytest.raises(InputError, match=r"no space is left on the disk after \d+ materials") as caught:
        build(target)
    assert "\n" not in str(caught.value) and not target.exists()
    small_disk(8000, "remount,")
    build(target)
    assert contents(target) == whole


class Stream(RecordSource):
    """A source of somebody else: it knows only `records`."""

    def __init__(self) -> None:
        super().__init__()
        self.readings = 0

    def records(self, on_error: OnError = "raise") -> Iterator[CrystalRecord]:
        self.readings += 1
        return self.read_each(range(150), Troubled().crystal, on_error)

    def tasks(self) -> Tasks | None:
        return None


def test_source_without_tasks_is_read_from_the_start(
    tmp_path: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = Stream(), tmp_path / "store"
    real = prepare.add_chunk
    monkeypatch.setattr(prepare, "add_chunk", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        build(target, source)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(prepare, "add_chunk", real)
    assert len(build(target, source)) == 2
    assert contents(target) == whole
    shutil.rmtree(target)
    build(target, source, replace(OPTIONS, workers=2))
    assert contents(target) == whole and source.readings == 3


def test_a_finished_store_is_forced_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forced: list[Path] = []
    monkeypatch.setattr(
        "dielectric_gnn.utils.files.os.fsync", lambda number: forced.append(Path(f"/proc/self/fd/{number}").readlink())
    )
    write_store(tmp_path / "store", SyntheticMetals(12).records(), 4.0, composition_split)
    assert {path.name for path in (tmp_path / "store").iterdir()} < {path.name for path in forced}
    assert forced[-1] == tmp_path, "the name of the store, last"
