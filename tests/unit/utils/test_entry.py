"""How commands begin and end: what standard output is connected to never matters, and mistakes are one line."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from lightning.fabric.utilities.exceptions import MisconfigurationException

from dielectric_gnn.utils.entry import EXIT_INTERRUPTED, EXIT_MISTAKE, command, input_error_from
from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.files import remove_temporary_files, write_atomically
from dielectric_gnn.utils.text import on_one_line, printable
from tests.commands import environment

ROOT = Path(__file__).parents[3]
TALK = """
import sys, subprocess
from pathlib import Path
from dielectric_gnn.utils.entry import begin, command
begin()
def talk():
    for line in range(3000):
        print(f"line {line}: ε = σ – ω", "-" * 100)
    sys.stdout.flush()
    print("said on stderr: ε\\udce4", file=sys.stderr)
    subprocess.run([sys.executable, "-c", "print('child')"], check=True)
    Path(sys.argv[1]).write_text("done")
command(talk)
"""


def talk(tmp_path: Path, shell: str, **variables: str) -> "subprocess.CompletedProcess[bytes]":
    """Run TALK as a shell connects it; it must come to its end."""
    (tmp_path / "talk.py").write_text(TALK, encoding="utf-8")
    line = f"{sys.executable} {tmp_path}/talk.py {tmp_path}/done {shell}"
    result = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"], capture_output=True, env={**environment(), **variables}, check=False
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "done").read_text() == "done"
    assert b"Traceback" not in result.stderr and b"Exception" not in result.stderr
    return result


def test_a_closed_pipe_ends_no_command(tmp_path: Path) -> None:
    assert talk(tmp_path, "| head -1").stdout.startswith(b"line 0")


@pytest.mark.parametrize("shell", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", "2>&1 | true"])
def test_closed_streams(tmp_path: Path, shell: str) -> None:
    """A file that is opened later must not take the place of a closed stream."""
    result = talk(tmp_path, shell)
    assert b"child" not in (tmp_path / "done").read_bytes()
    if shell == ">&-":
        assert b"said on stderr" in result.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_under_standard_output(tmp_path: Path) -> None:
    shown = talk(tmp_path, "> /dev/full").stderr.decode()
    assert "stdout cannot be written" in shown and os.strerror(errno.ENOSPC) in shown
    assert shown.count("cannot be written") == 1
    talk(tmp_path, "2> /dev/full")


@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "ascii:strict"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
    ids=["Latin-1", "ASCII", "C locale"],
)
def test_other_encodings(tmp_path: Path, variables: dict[str, str]) -> None:
    shown = talk(tmp_path, "", **variables).stdout
    assert b"line 2999: \\u03b5 = \\u03c3 \\u2013 \\u03c9" in shown and shown.endswith(b"child\n")


def test_control_sequences_of_data_do_not_reach_the_terminal() -> None:
    code = """
import logging, sys, warnings
from dielectric_gnn.utils.entry import begin, command
begin()
evil = "Ag\\x1b[2J\\x9b1m\\x07\\u202e"
def show():
    print(evil)
    sys.stderr.write(evil + "\\n")
    warnings.warn(evil)
    logging.basicConfig()
    logging.error(evil)
    from dielectric_gnn.utils.progress import ProgressReporter
    with ProgressReporter(evil + "[red]x[/red]", 3, "{} things".format):
        pass
    from rich.console import Console
    Console(force_terminal=True, color_system="standard").print("styled", style="red")
    raise RuntimeError(evil)
command(show)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, env=environment())
    shown = (result.stdout + result.stderr).decode()
    assert result.returncode == 1 and "RuntimeError: Ag\\x1b[2J" in shown and "[red]x[/red]: 0 things" in shown
    assert shown.count("Ag\\x1b[2J\\x9b1m\\x07\\u202e") >= 6
    assert "\x1b[31mstyled" in shown, "sequences of Rich stay"
    for letter in "\x9b\x07\u202e":
        assert letter not in shown
    assert "\x1b" not in shown.replace("\x1b[31mstyled\x1b[0m", "")


@pytest.mark.skipif(sys.platform == "win32", reason="terminals of POSIX")
def test_bars_are_drawn_on_a_terminal(tmp_path: Path) -> None:
    """While a bar of Rich is shown, it stands between `print` and the stream."""
    import pty
    import termios

    code = """
import sys, time
from dielectric_gnn.utils.entry import begin, command
begin()
def show():
    print("plain \x1b[2J")
    from dielectric_gnn.utils.progress import ProgressReporter
    with ProgressReporter("reading", 3, "{} things".format) as progress:
        progress.advance()
    from rich.progress import Progress
    with Progress() as bars:
        task = bars.add_task("working", total=2)
        bars.update(task, advance=2)
    from tqdm import tqdm
    for _ in tqdm(range(2), desc="outer", file=sys.stdout, mininterval=0):
        for _ in tqdm(range(2), desc="inner", file=sys.stdout, mininterval=0, position=1):
            pass
command(show)
"""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 80))
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=slave, stderr=slave, env={**environment(), "TERM": "xterm"}
    )
    os.close(slave)
    shown = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:  # the end, on Linux
            break
        if not piece:
            break
        shown += piece
    os.close(master)
    assert process.wait() == 0
    text = shown.decode()
    assert "plain \\x1b[2J" in text and "\x1b[2J" not in text
    assert text.count("\\x") == 1, "sequences of the bars are not spelled out"
    for word in ("reading", "working", "outer", "inner", "\x1b[2K", "\x1b[A", "\r"):
        assert word in text


def test_printable_text() -> None:
    assert printable("a\tb\nε – Å 🙂 日本") == "a\tb\nε – Å 🙂 日本"
    assert printable("\r\x00\x7f\u2028\udce4") == "\\x0d\\x00\\x7f\\u2028\\udce4"
    assert on_one_line(" a\n\tb\x1b ") == "a b\\x1b"


def _caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def _while_handling(error: Exception, handled: Exception) -> Exception:
    error.__context__ = handled
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (InputError("batch_size is 0"), ["batch_size is 0"]),
        (_caused(ValueError("option"), InputError("inner")), ["inner"]),
        (MisconfigurationException("two\n  lines"), ["two lines"]),
        (OSError(errno.ENOSPC, "No space left on device", "a.ckpt"), ["a.ckpt: No space left", "make room"]),
        (OSError(errno.EFBIG, "File too large"), ["File too large", "make room"]),
        (PermissionError(errno.EACCES, "Permission denied", "x/y"), ["x/y: Permission denied", "choose another"]),
        (OSError(errno.EROFS, "Read-only file system", b"x/\xe4"), ["x/\\udce4: Read-only", "choose another"]),
        (OSError(errno.ENAMETOOLONG, "File name too long", "x" * 300), ["too long", "choose another"]),
        (OSError(errno.EXDEV, "Invalid cross-device link", "a", None, "b"), ["a -> b: Invalid"]),
        (OSError(errno.EMFILE, "Too many open files"), ["Too many open files", "ulimit"]),
        (OSError("1000 requested and 12 written"), ["1000 requested and 12 written"]),
        (OSError("Caught OSError in worker 0.\nTraceback ...\nOSError: gone\x1b"), ["OSError: gone\\x1b"]),
        (_while_handling(RuntimeError("unexpected pos"), OSError(errno.ENOSPC, "No space")), ["No space", "make room"]),
    ],
)
def test_mistakes_and_errors_of_the_system_are_one_line(error: Exception, words: list[str]) -> None:
    found = input_error_from(error)
    assert found is not None and "\n" not in str(found)
    for word in words:
        assert word in str(found)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bug"),
        RuntimeError("bug"),
        _while_handling(KeyError("bug"), FileNotFoundError(2, "No such file", "x")),
    ],
)
def test_faults_of_the_program_keep_their_traceback(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert input_error_from(error) is None

    def fail() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        command(fail)
    assert ended.value.code == 1 and "Traceback" in capsys.readouterr().err


def _raise(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def test_exit_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout, sys.stderr
    command(lambda: print("fine"))
    for error, status, shown in (
        (InputError("wrong\x1b"), EXIT_MISTAKE, "error: wrong\\x1b\n"),
        (KeyboardInterrupt(), EXIT_INTERRUPTED, "\nstopped\n"),
        (KeyboardInterrupt("3 are kept"), EXIT_INTERRUPTED, "\n3 are kept\n"),
        (SystemExit(7), 7, ""),
    ):
        with pytest.raises(SystemExit) as ended:
            command(_raise(error))
        captured = capsys.readouterr()
        assert ended.value.code == status and captured.err == shown
    assert (sys.stdout, sys.stderr) == before

    def as_lightning_does() -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)

    with pytest.raises(SystemExit) as ended:
        command(as_lightning_does)
    assert ended.value.code == EXIT_INTERRUPTED


TOOLS = sorted(
    path.name
    for path in (ROOT / "tools").glob("*.py")
    if "\nfrom dielectric_gnn" in (text := path.read_text()) and '\nif __name__ == "__main__":\n    main(' in text
)
STUB = """
import pathlib, time
pathlib.Path({mark!r}).touch()
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("name", [*TOOLS, "dielectric-gnn"])
def test_ctrl_c_during_imports(name: str, tmp_path: Path) -> None:
    """Every script: packages that take long to import are replaced by one that never ends."""
    mark = tmp_path / "importing"
    for package in ("numpy", "torch", "rich"):
        (tmp_path / f"{package}.py").write_text(STUB.format(mark=str(mark)))
    line = ["-m", "dielectric_gnn", "fit"] if name == "dielectric-gnn" else [str(ROOT / "tools" / name)]
    line += ["cost"] if name == "benchmark.py" else []
    process = subprocess.Popen(
        [sys.executable, *line], env=environment(tmp_path), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        preexec_fn=_heed_ctrl_c,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not mark.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    shown, told = process.communicate(timeout=60)
    assert process.returncode == EXIT_INTERRUPTED, told
    assert told == "\nstopped\n" and shown == ""


def _heed_ctrl_c() -> None:
    """Shells start processes in the background so that they ignore SIGINT, and children inherit it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_there_are_tools() -> None:
    assert {"compare_models.py", "benchmark.py"} <= set(TOOLS)
    for path in (ROOT / "tools").glob("*.py"):
        if path.name in TOOLS:
            text = path.read_text()
            assert "command(" in text or "main([" in text, f"{path.name} ends by rules of its own"


def test_a_failed_write_names_its_file(tmp_path: Path) -> None:
    """PyTorch raises an error of its own while it handles that of the disk."""
    path = tmp_path / "last.ckpt"

    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            raise RuntimeError("unexpected pos 64") from None

    with pytest.raises(RuntimeError) as caught:
        write_atomically(path, fail)
    found = input_error_from(caught.value)
    assert found is not None and str(path) in str(found) and "make room" in str(found)
    assert not list(tmp_path.iterdir())
    remove_temporary_files(tmp_path / "absent")
