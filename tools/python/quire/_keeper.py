"""A process between Python and a local coordinator, so that the coordinator never outlives who started it.

usage: python _keeper.py GRACE_SECONDS COMMAND...

Starts COMMAND and ends it when standard input is closed (the Python that started us is gone, however it went) or when a SIGTERM comes:
SIGTERM, then SIGKILL after GRACE_SECONDS. On Linux the coordinator also dies with this process. Exit code: the command's; 128 + signal.
Standard library only, one thread. The kernel ties a death signal to the thread that forked, and threads of a host program come and go:
that is why this is a process of its own.
"""
import ctypes
import os
import select
import signal
import subprocess
import sys
import time

_PR_SET_PDEATHSIG = 1
_POLL_SECONDS = 0.05
_MOST_FILES = 4096


def _die_with_parent() -> None:
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    except (OSError, AttributeError):
        pass  # not Linux: the pipe alone has to do


def _end(child: "subprocess.Popen[bytes]", grace: float) -> int:
    child.terminate()
    try:
        return child.wait(grace)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()


def main() -> int:
    grace, command = float(sys.argv[1]), sys.argv[2:]
    os.closerange(3, _MOST_FILES)
    os.setsid()  # what a terminal sends to the program is not for us
    asked = []
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: asked.append(True))
    parent = os.getppid()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_die_with_parent) as child:
        print(child.pid, flush=True)
        while child.poll() is None and not asked and os.getppid() == parent:
            start = time.monotonic()
            readable, _, _ = select.select([0], [], [], _POLL_SECONDS)
            if readable and not os.read(0, 64):
                break
            time.sleep(max(0.0, _POLL_SECONDS - (time.monotonic() - start)))  # never a busy loop, whatever comes in
        code = _end(child, grace) if child.poll() is None else child.returncode
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
