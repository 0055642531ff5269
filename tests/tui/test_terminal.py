"""The installed command in a real pseudo-terminal: it paints, trains, resizes, quits, leaves the terminal as it was."""

import errno
import io
import os
import re
import shutil
import signal
import sys
import threading
import time

import pytest
from textual.drivers._writer_thread import WriterThread

from tui.capture import captured
from tui.journal import Journal

pexpect = pytest.importorskip("pexpect")
termios = pytest.importorskip("termios")

# Compiling the kernels for the first time takes up to a minute on a slow machine.
COMPILING, SOON = 300, 60
ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"
COMMAND = [shutil.which("fastnn")] if shutil.which("fastnn") else [sys.executable, "-m", "tui"]
# One worker runs these after one another, so that they do not compile at the same time.
pytestmark = pytest.mark.xdist_group("terminal")


@pytest.fixture
def environment():
    # COLUMNS and LINES would hide a change of size.
    leave = ("NO_COLOR", "LC_ALL", "LC_CTYPE", "COLUMNS", "LINES")
    keep = {name: value for name, value in os.environ.items() if name not in leave}
    return {**keep, "TERM": "xterm-256color", "LANG": "C.UTF-8", "COLORTERM": "truecolor"}


class Terminal:
    """A process in a pseudo-terminal, and everything that it wrote."""

    def __init__(self, command, environment, columns=80, rows=24):
        self.child = pexpect.spawn(command[0], command[1:], env=environment, dimensions=(rows, columns), timeout=SOON)
        self.before = termios.tcgetattr(self.child.child_fd)
        self.output = b""

    def read(self):
        """What has come since the last call, waiting 50 ms for it."""
        try:
            new = self.child.read_nonblocking(1 << 16, timeout=0.05)
        except (pexpect.TIMEOUT, pexpect.EOF):
            new = b""
        self.output += new
        return new

    def until(self, pattern, limit=SOON):
        """Read until the pattern has come since the last key; fails after `limit` seconds."""
        end, seen = time.monotonic() + limit, b""
        while not re.search(pattern, seen):
            assert time.monotonic() < end, f"{pattern!r} did not come in {limit} s; the last was {seen[-3000:]!r}"
            alive, new = self.child.isalive(), self.read()  # in this order: its last words may come in between
            assert alive or new, f"ended: {self.output[-3000:]!r}"
            seen += new
        return seen

    def close(self):
        """Wait for the end; returns the exit status."""
        end = time.monotonic() + SOON
        while self.child.isalive():
            assert time.monotonic() < end, "does not end"
            self.read()
        while self.read():
            pass
        self.child.close()
        return self.child.exitstatus


@pytest.fixture
def open_terminal(environment):
    """Opens terminals, and ends what is left in them."""
    opened = []

    def open_one(command=None, **changes):
        size = {name: changes.pop(name) for name in ("columns", "rows") if name in changes}
        opened.append(Terminal(command or COMMAND, {**environment, **changes}, **size))
        return opened[-1]

    yield open_one
    for terminal in opened:
        terminal.child.close(force=True)


def test_opens_trains_resizes_and_quits(open_terminal):
    terminal = open_terminal()
    terminal.until(rb"READY", COMPILING)
    terminal.child.send(" ")
    terminal.until(rb"RUNNING|FINISHED")
    for columns, rows in ((160, 45), (60, 20), (80, 24)):
        terminal.child.setwinsize(rows, columns)
        terminal.until(rb"too small" if columns < 80 else rb"L1")
    terminal.child.send(" x")
    terminal.until(rb"STOPPED|FINISHED")
    terminal.child.send("q")
    assert terminal.close() == 0
    assert ENTER in terminal.output
    assert terminal.output.rstrip().rfind(LEAVE) > terminal.output.rfind(ENTER)
    assert b"\x1b[?25h" in terminal.output[terminal.output.rfind(ENTER) :], "the cursor is shown again"
    assert b"Traceback" not in terminal.output


def test_quitting_while_it_runs_asks_and_restores_the_terminal(open_terminal):
    # A shell in between keeps the terminal open, so that its modes can be compared after the end.
    line = " ".join(f"'{part}'" for part in COMMAND)
    terminal = open_terminal(["/bin/sh", "-c", f"stty -a; {line}; echo code $?; stty -a; echo over"])
    terminal.until(rb"READY", COMPILING)
    modes = re.search(rb"speed.*?(?=\x1b\[\?1049h|\x1b\[)", terminal.output, re.S)
    terminal.child.send("c")
    terminal.until(rb"Configuration")
    terminal.child.send("\x1b")  # alone, until it has had its effect: by what follows it is told from a sequence
    terminal.until(rb"L3")
    terminal.child.send(" ")
    terminal.until(rb"RUNNING|FINISHED")
    terminal.child.send("q")
    terminal.child.send("q")
    text = terminal.until(rb"over")
    assert b"code 0" in text
    after = text[text.index(b"code 0") :]
    assert modes is not None
    first, second = (
        set(re.findall(rb"-?\w+", part)) & {b"echo", b"-echo", b"icanon", b"-icanon"} for part in (modes.group(), after)
    )
    assert first == second == {b"echo", b"icanon"}


@pytest.mark.parametrize("state", ["ready", "running"])
def test_sigterm_restores_the_terminal(open_terminal, state):
    terminal = open_terminal()
    terminal.until(rb"READY", COMPILING)
    if state == "running":
        terminal.child.send(" ")
        terminal.until(rb"RUNNING|FINISHED")
    terminal.child.kill(signal.SIGTERM)
    assert terminal.close() == 128 + signal.SIGTERM
    assert terminal.output.rfind(LEAVE) > terminal.output.rfind(ENTER)
    assert b"\x1b[?25h" in terminal.output[terminal.output.rfind(ENTER) :]


def test_ctrl_c_asks_while_it_runs_and_a_second_one_leaves(open_terminal):
    terminal = open_terminal()
    terminal.until(rb"READY", COMPILING)
    terminal.child.send(" ")
    terminal.until(rb"RUNNING|FINISHED")
    terminal.child.send("\x03")
    terminal.until(rb"Quit\?|\x1b\[\?1049l")
    terminal.child.send("q")
    assert terminal.close() == 0
    assert terminal.output.rfind(LEAVE) > terminal.output.rfind(ENTER)


def test_a_closed_terminal_ends_the_process(open_terminal):
    terminal = open_terminal()
    terminal.until(rb"READY", COMPILING)
    terminal.child.send(" ")
    terminal.until(rb"RUNNING|FINISHED")
    pid, process = terminal.child.pid, terminal.child.ptyproc
    process.fileobj.close()
    process.closed = process.terminated = True
    end = time.monotonic() + SOON
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        assert time.monotonic() < end, "lives on without a terminal"
        time.sleep(0.05)


def test_nobody_waits_for_a_terminal_that_is_gone():
    """Textual's queue to it has 30 places, and who writes waits for one."""

    class Gone(io.StringIO):
        def write(self, text):
            raise OSError(errno.EIO, "the terminal is gone")

    def draw(output):
        for _ in range(100):
            output.write("a frame")
        output.stop()

    with captured(Journal()):
        output = WriterThread(Gone())
        output.start()
        frames = threading.Thread(target=draw, args=(output,), daemon=True)
        frames.start()
        frames.join(SOON)
    assert not frames.is_alive() and not output.is_alive()


def test_an_exception_in_a_widget_restores_the_terminal_and_is_told(open_terminal):
    program = (
        "import sys\n"
        "from tui.app import FastnnApp\n"
        "from tui.widgets.trends import TrendPlot\n"
        "def broken(self, width, height):\n"
        "    raise RuntimeError('a fault of ours')\n"
        "TrendPlot.draw = broken\n"
        "app = FastnnApp()\n"
        "app.run()\n"
        "sys.exit(app.return_code)\n"
    )
    terminal = open_terminal([sys.executable, "-c", program])
    assert terminal.close() == 1
    after = terminal.output[terminal.output.rfind(LEAVE) :]
    assert b"a fault of ours" in after and b"\x1b[?25h" in terminal.output[terminal.output.rfind(ENTER) :]


def test_a_stray_print_does_not_reach_the_terminal(open_terminal):
    program = (
        "import sys, threading\n"
        "from tui.app import FastnnApp\n"
        "class Loud:\n"
        "    def load(self, on_compile):\n"
        "        print('stray line'); print('stray error', file=sys.stderr)\n"
        "        raise RuntimeError('the backend has spoken')\n"
        "FastnnApp(Loud()).run()\n"
    )
    terminal = open_terminal([sys.executable, "-c", program])
    terminal.until(rb"backend has spoken")
    terminal.child.send("q")
    assert terminal.close() == 0
    assert b"stray" not in terminal.output


def test_quitting_does_not_wait_for_data_where_there_is_nothing_to_save(open_terminal):
    program = (
        "import threading\n"
        "from tui import app\n"
        "app.SAVING_SECONDS = 3600\n"
        "app.Engine.load = lambda *_: threading.Event().wait()\n"  # as a mirror that does not answer
        "app.main()\n"
    )
    terminal = open_terminal([sys.executable, "-c", program])
    terminal.until(rb"LOADING")
    terminal.child.send("q")
    assert terminal.close() == 0


@pytest.mark.parametrize("changes", [{"LC_ALL": "C"}, {"NO_COLOR": "1"}, {"TERM": "screen", "COLORTERM": ""}])
def test_other_terminals_are_served(open_terminal, changes):
    terminal = open_terminal(**changes)
    terminal.until(rb"READY", COMPILING)
    terminal.until(rb"L3")
    terminal.child.send("q")
    assert terminal.close() == 0
    screen = terminal.output.decode()
    if changes.get("LC_ALL") == "C":
        assert screen.isascii()
    if "NO_COLOR" in changes:
        colors = {match.groups() for match in re.finditer(r"38;2;(\d+);(\d+);(\d+)", screen)}
        assert colors and all(len(set(color)) == 1 for color in colors), "only greys"


def test_what_compiled_code_prints_does_not_reach_the_terminal(open_terminal):
    program = (
        "import os, sys\n"
        "from tui import app\n"
        "load = app.Engine.load\n"
        "def loud(self, on_compile):\n"
        "    os.write(1, b'fd_stray one\\n'); os.write(2, b'fd_stray two\\n'); os.system('echo fd_stray three')\n"
        "    return load(self, on_compile)\n"
        "app.Engine.load = loud\n"
        "code = app.main()\n"
        "os.write(2, b'after\\n')\n"
        "sys.exit(code)\n"
    )
    terminal = open_terminal([sys.executable, "-c", program])
    terminal.until(rb"READY", COMPILING)
    seen = terminal.output
    terminal.child.send("6")
    terminal.until(rb"three")  # on the Log screen
    terminal.child.send("q")
    assert terminal.close() == 0
    assert b"fd_stray" not in seen and terminal.output.rstrip().endswith(b"after")
    assert b"stdout" in terminal.output and b"stderr" in terminal.output
