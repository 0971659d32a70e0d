"""A local coordinator lives as long as who started it: interpreter exit, SIGKILL of Python, garbage, Ctrl-C; and what is said when it dies."""
import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import DEMO, SMALL, eventually, is_alive, run_python

from quire import LLM, SamplingParams, ServerStartError, UnavailableError
from quire.model_path import resolve_model

START = f"""
import sys, time
from quire import LLM, SamplingParams
llm = LLM(model={DEMO!r}, tensor_parallel_size=2, kv_cache_memory_bytes=64 << 20, show_progress=False)
print(llm._connection.server.pid, flush=True)
sys.stdin.readline()
"""


def children_of(pid):
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as file:
                    if int(file.read().rpartition(")")[2].split()[1]) == pid:
                        found.append(int(name))
            except OSError:
                pass
    return found


def start_script(more):
    process = subprocess.Popen([sys.executable, "-c", START + more], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               close_fds=False)  # see LocalServer
    pid = int(process.stdout.readline())
    ranks = children_of(pid)
    assert is_alive(pid) and len(ranks) == 2
    process.stdin.write("go on\n")
    process.stdin.flush()
    return process, [pid, *ranks]


def all_gone(pids):
    return eventually(lambda: not any(is_alive(pid) for pid in pids))


@pytest.mark.parametrize("end", ["", "raise RuntimeError('x')", "sys.exit(3)", "llm.close(); llm.close()", "del llm", "llm.me = llm; del llm"])
def test_it_ends_with_the_interpreter(end):
    process, pids = start_script(end)
    _, errors = process.communicate(timeout=60)
    assert all_gone(pids), errors
    assert process.returncode == {"raise RuntimeError('x')": 1, "sys.exit(3)": 3}.get(end, 0), errors


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_it_ends_when_python_is_killed(number):
    process, pids = start_script("time.sleep(600)")
    process.send_signal(number)
    process.communicate(timeout=60)
    assert all_gone(pids)


def test_it_ends_when_its_keeper_is_killed():
    process, pids = start_script("time.sleep(600)")
    keeper = children_of(process.pid)
    assert len(keeper) == 1
    os.kill(keeper[0], signal.SIGKILL)
    assert all_gone(pids)
    process.kill()
    process.communicate(timeout=60)


def test_ctrl_c_ends_the_call_and_not_the_server():
    process, pids = start_script("""
try:
    print("go", flush=True)
    llm.generate(["Once"] * 4, SamplingParams(max_tokens=1000, ignore_eos=True), use_tqdm=False)
except KeyboardInterrupt:
    while llm.get_loads().num_running_reqs: time.sleep(0.01)
    print("interrupted", flush=True)
""".replace("max_tokens=1000", "max_tokens=1000, temperature=0"))
    assert process.stdout.readline() == "go\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert out in ("interrupted\n", "") and process.returncode == 0, errors  # "": it was done before the signal
    assert all_gone(pids)


def test_a_forked_child_does_not_keep_it():
    process, pids = start_script("""
import os
if os.fork() == 0:
    time.sleep(30)
    os._exit(0)
os.kill(os.getpid(), 9)
""")
    process.wait(timeout=60)
    assert all_gone(pids)


def test_a_coordinator_that_dies_is_told_clearly():
    with LLM(model=DEMO, **SMALL) as llm:
        os.kill(llm._connection.server.pid, signal.SIGKILL)
        start = time.monotonic()
        with pytest.raises(UnavailableError, match=r"the local coordinator for .*models/demo has ended \(signal 9\)"):
            llm.generate("x", SamplingParams(), use_tqdm=False)
        assert time.monotonic() - start < 30, "no attempts against a process that is gone"


def test_a_coordinator_that_dies_in_the_middle_is_told_clearly():
    with LLM(model=DEMO, **SMALL) as llm:
        import threading
        victim = llm._connection.server.pid

        def kill_when_it_runs():
            eventually(lambda: llm.get_loads().num_running_reqs > 0)
            os.kill(victim, signal.SIGKILL)

        killer = threading.Thread(target=kill_when_it_runs)
        killer.start()
        with pytest.raises(UnavailableError, match="has ended"):
            llm.generate(["Once"] * 16, SamplingParams(max_tokens=1000, ignore_eos=True, temperature=0), use_tqdm=False)
        killer.join()


def test_a_start_that_fails_shows_the_log(tmp_path):
    with pytest.raises(ServerStartError, match=r"ended before it was ready(.|\n)*max_num_seqs"):
        LLM(model=DEMO, max_num_seqs=0, **SMALL)
    with pytest.raises(ServerStartError, match="no tokenizer"):
        LLM(model=str(tmp_path), **SMALL)


def test_no_program(monkeypatch):
    monkeypatch.setenv("QUIRE_COORDINATOR", "/nowhere/coordinator")
    with pytest.raises(ServerStartError, match="QUIRE_COORDINATOR=/nowhere/coordinator"):
        LLM(model=DEMO)


def test_no_leftovers(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with LLM(model=DEMO, **SMALL) as llm:
        assert list(tmp_path.iterdir())
        del llm
    assert not list(tmp_path.iterdir())


def test_arguments():
    for bad, error in ((dict(), TypeError), (dict(model=DEMO, no_such_thing=1), TypeError), (dict(model=DEMO, tensor_parallel_size=0), ValueError),
                       (dict(server="h:1", dtype="half"), TypeError), (dict(model="no/such-model"), FileNotFoundError),
                       (dict(model=DEMO, quantization="awq"), ValueError)):
        with pytest.raises(error):
            LLM(**bad)


def test_names_of_the_hub(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "models--org--name" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    refs = tmp_path / "models--org--name" / "refs"
    refs.mkdir()
    (refs / "main").write_text("abc")
    assert resolve_model("org/name") == resolve_model("org/name", "abc") == str(snapshot)
    for name, revision in (("org/other", None), ("org/name", "v2"), ("../name", None), ("a/b/c", None), ("", None)):
        with pytest.raises(FileNotFoundError):
            resolve_model(name, revision)


def test_progress_line():
    done = run_python(["-c", START.replace(", show_progress=False", "")])
    assert "models/demo is ready after " in done.stderr
