"""The scripts of vLLM's users, as they stand but for the import, in processes of their own."""
import os
import pathlib

import pytest
from conftest import run_python
from random_models import write_gpt2, write_opt

EXAMPLES = pathlib.Path(__file__).resolve().parents[1] / "examples"


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A Hugging Face cache with the models that the scripts name; random weights stand for the real ones."""
    cache = tmp_path_factory.mktemp("hub")
    for name, write in (("gpt2", write_gpt2), ("facebook/opt-125m", write_opt)):
        folder = cache / f"models--{name.replace('/', '--')}"
        write(folder / "snapshots" / "0123abcd")
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text("0123abcd")
    return {**os.environ, "HF_HUB_CACHE": str(cache), "QUIRE_COORDINATOR_FLAGS": "--kv_cache_memory_bytes=67108864 --worker_threads=1"}


def run_example(environment, name, *args):
    done = run_python([str(EXAMPLES / name), *args], env=environment)
    assert done.returncode == 0, done.stderr
    return done


def test_offline_basic(environment):
    done = run_example(environment, "offline_basic.py")
    lines = [line for line in done.stdout.splitlines() if line.startswith("Prompt: ")]
    assert len(lines) == 4 and lines[0].startswith("Prompt: 'Good morning, I am called', Generated text: ")
    assert "Processed prompts: 100%" in done.stderr


def test_gpt2_tutorial(environment):
    done = run_example(environment, "gpt2_tutorial.py")
    assert "Hello, I'm a language model," in done.stdout and "Paris is the capital of" in done.stdout


def test_chat_tutorial(environment, chat_model):
    done = run_example(environment, "chat_tutorial.py", chat_model)
    assert done.stdout.startswith("system: You are a friendly story teller.\nuser: Tell me about a dog and a cat.\nassistant:")


def test_chat_options(environment, chat_model):
    done = run_example(environment, "chat_options.py", "--model", chat_model, "--max_tokens=20", "--temperature", "0.7", "--max-model-len", "512")
    assert "Why do birds sing?" in done.stdout and done.stdout.endswith("10 answers\n")


def test_async_stream(environment, chat_model):
    done = run_example(environment, "async_stream.py", chat_model)
    assert done.stdout.endswith("nothing runs any more\n") and len(done.stdout) > 60


def test_only_the_import_names_the_package():
    for path in sorted(EXAMPLES.glob("*.py")):
        code = [line for line in path.read_text().splitlines() if "quire" in line.split('"')[0].lower()]
        assert code and all(line.startswith("from quire") for line in code), path
