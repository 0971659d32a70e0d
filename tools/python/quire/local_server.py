"""A coordinator of our own: found, started on a free port, waited for, and ended with us."""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import weakref
from pathlib import Path
from typing import IO, Iterator, List, Mapping, Optional

from quire.errors import QuireError, ServerStartError, UnavailableError

_GRACE_SECONDS = 5.0
_POLL_SECONDS = 0.02
_LOG_LINES = 12
_NAMES = ("quire-coordinator", "coordinator")
_BUILT = Path("bazel-bin/coordinator/coordinator")
# What a coordinator of one program's own does not need. The user's flags come later and win.
_OWN_FLAGS = {"host": "127.0.0.1", "grpc_port": "0", "port": "-1", "shutdown_timeout": "1s"}


def _checkouts() -> Iterator[Path]:
    """Folders that may be a checkout: around this file, then around the working directory."""
    for start in (Path(__file__).resolve(), Path.cwd() / "x"):
        yield from start.parents


def find_coordinator() -> str:
    """$QUIRE_COORDINATOR, else what Bazel built in the checkout, else `quire-coordinator` or `coordinator` in PATH. Raises ServerStartError."""
    given = os.environ.get("QUIRE_COORDINATOR")
    if given:
        if not os.access(given, os.X_OK):
            raise ServerStartError(f"QUIRE_COORDINATOR={given} is not a program that can be run", code="NOT_FOUND")
        return given
    for folder in _checkouts():
        if os.access(folder / _BUILT, os.X_OK):
            return str(folder / _BUILT)
    for name in _NAMES:
        found = shutil.which(name)
        if found:
            return found
    raise ServerStartError("there is no coordinator program: set QUIRE_COORDINATOR to its path, build it (bazel build //coordinator //worker), "
                           "or use a running server by LLM(server='host:port')", code="NOT_FOUND")


def _kill_keeper(keeper: "subprocess.Popen[bytes]", folder: str) -> None:
    """Ends the coordinator through its keeper; runs at the latest when the interpreter ends."""
    if keeper.stdin is not None:
        keeper.stdin.close()
    try:
        keeper.wait(_GRACE_SECONDS + 5)
    except subprocess.TimeoutExpired:
        keeper.kill()
        keeper.wait()
    if keeper.stdout is not None:
        keeper.stdout.close()
    shutil.rmtree(folder, ignore_errors=True)


class LocalServer:
    """A running coordinator. address: host:port. Raises ServerStartError, with the end of its log, if it does not come up."""

    def __init__(self, model: str, flags: Mapping[str, str], start_seconds: float, show_progress: bool = True) -> None:
        self._model = model
        self._folder = tempfile.mkdtemp(prefix="quire-")
        self.log_path = os.path.join(self._folder, "coordinator.log")
        port_file = os.path.join(self._folder, "port")
        all_flags = {**_OWN_FLAGS, "model": model, **flags, "port_file": port_file}
        command = [find_coordinator(), *(f"--{name}={value}" for name, value in all_flags.items()), *_environment_flags()]
        try:
            self._keeper = self._start(command)
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self.stop = weakref.finalize(self, _kill_keeper, self._keeper, self._folder)
        try:
            self.pid = self._read_pid()
            self.address = f"127.0.0.1:{self._await_port(port_file, start_seconds, show_progress)}"
        except BaseException:
            self.stop()
            raise

    def _start(self, command: List[str]) -> "subprocess.Popen[bytes]":
        keeper = [sys.executable, "-I", "-S", str(Path(__file__).with_name("_keeper.py")), str(_GRACE_SECONDS)]
        with open(self.log_path, "wb") as log:
            # close_fds=False lets Python 3.9 spawn without a fork, which gRPC's threads would not survive; the keeper closes what it inherits.
            return subprocess.Popen([*keeper, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, close_fds=False)

    def _read_pid(self) -> int:
        stdout: Optional[IO[bytes]] = self._keeper.stdout
        line = stdout.readline() if stdout is not None else b""
        if not line.strip().isdigit():
            raise ServerStartError(f"the coordinator could not be started\n{self.log_tail()}", code="UNAVAILABLE")
        return int(line)

    def _await_port(self, port_file: str, start_seconds: float, show_progress: bool) -> int:
        start, moving = time.monotonic(), show_progress and sys.stderr.isatty()
        while True:
            seconds = time.monotonic() - start
            try:
                with open(port_file, encoding="ascii") as file:
                    port = int(file.read())
                break
            except (FileNotFoundError, ValueError):
                pass
            if self._keeper.poll() is not None:
                raise ServerStartError(f"the coordinator for {self._model} ended before it was ready (exit code {self._keeper.returncode})\n"
                                       f"{self.log_tail()}", code="UNAVAILABLE")
            if seconds > start_seconds:
                raise ServerStartError(f"the coordinator for {self._model} was not ready after {start_seconds:g} s\n{self.log_tail()}",
                                       code="DEADLINE_EXCEEDED")
            if moving:
                sys.stderr.write(f"\rquire: loading {self._model} ... {seconds:.1f} s\x1b[K")
                sys.stderr.flush()
            time.sleep(_POLL_SECONDS)
        if show_progress:
            end = "\r\x1b[K" if moving else ""
            sys.stderr.write(f"{end}quire: {self._model} is ready after {time.monotonic() - start:.1f} s (coordinator {self.pid})\n")
        return port

    def log_tail(self) -> str:
        """The last lines that the coordinator wrote, without the list of its flags."""
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as file:
                lines = [line for line in file if "] quire coordinator " not in line]
            return "\n".join(f"  | {line.rstrip()}" for line in lines[-_LOG_LINES:])
        except OSError:
            return ""

    def explain(self, _error: QuireError) -> None:
        """Called where it cannot be reached: raises what is known if it is gone, for then no further attempt can help."""
        try:
            code: Optional[int] = self._keeper.wait(0.3)  # the connection breaks a moment before its process is reaped
        except subprocess.TimeoutExpired:
            return
        reason = f"exit code {code}" if code is None or code < 128 else f"signal {code - 128}"
        raise UnavailableError(f"the local coordinator for {self._model} has ended ({reason})\n{self.log_tail()}", code="UNAVAILABLE", started=True)


def _environment_flags() -> List[str]:
    """$QUIRE_COORDINATOR_FLAGS: more flags, separated by spaces, for programs that cannot be changed."""
    return os.environ.get("QUIRE_COORDINATOR_FLAGS", "").split()
