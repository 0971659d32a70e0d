"""Fixtures: the real coordinator on the demo model. Run from the repository's root, where bazel-bin is, or set QUIRE_COORDINATOR."""
import json
import os
import pathlib
import subprocess
import sys
import time

import pytest

from quire import LLM
from quire.local_server import find_coordinator

ROOT = pathlib.Path(__file__).resolve().parents[3]
DEMO = str(ROOT / "models" / "demo")
SMALL = {"kv_cache_memory_bytes": 64 << 20, "worker_threads": 1, "show_progress": False}  # a guest on somebody's machine
CHAT_TEMPLATE = ("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
                 "{% if tools %}{{ tools | length }} tools\n{% endif %}{% if add_generation_prompt %}assistant:{% endif %}")


@pytest.fixture(scope="session", autouse=True)
def coordinator_binary():
    """The same program for children of the tests, wherever they run."""
    os.environ["QUIRE_COORDINATOR"] = os.path.abspath(find_coordinator())
    return os.environ["QUIRE_COORDINATOR"]


@pytest.fixture(scope="session")
def llm(coordinator_binary):
    with LLM(model=DEMO, tensor_parallel_size=2, seed=1, **SMALL) as made:
        yield made


@pytest.fixture(scope="session")
def chat_model(tmp_path_factory):
    """The demo model with a chat template, which it has none of."""
    folder = tmp_path_factory.mktemp("models") / "demo-chat"
    folder.mkdir()
    for name in ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json"):
        (folder / name).symlink_to(pathlib.Path(DEMO) / name)
    config = json.loads((pathlib.Path(DEMO) / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": CHAT_TEMPLATE}))
    return str(folder)


@pytest.fixture(scope="session")
def chat_llm(coordinator_binary, chat_model):
    with LLM(model=chat_model, **SMALL) as made:
        yield made


def eventually(condition, seconds=20):
    """Waits until condition() is true; the time is only a bound."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def is_alive(pid):
    """Whether a process runs; a zombie that nobody waited for does not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def run_python(args, **options):
    return subprocess.run([sys.executable, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120, check=False,
                          close_fds=False, **options)  # see LocalServer
