"""//tools:batch against the real server over HTTP: killed in the middle, started again, every line exactly once and right."""
import collections
import json
import os
import pathlib
import subprocess

import pytest
from conftest import DEMO, ROOT, eventually

from quire import LLM, SamplingParams
from quire.local_server import LocalServer

LINES = 600
PARAMS = dict(max_tokens=16, temperature=0, ignore_eos=True)


@pytest.fixture(scope="module")
def program():
    path = os.environ.get("QUIRE_BATCH", str(ROOT / "bazel-bin" / "tools" / "batch" / "batch"))
    if not os.access(path, os.X_OK):
        pytest.skip("//tools:batch is not built")
    return path


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_kills_and_resumes(program, coordinator_binary, tmp_path):
    port_file, source, output = tmp_path / "http_port", tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    flags = {"port": "0", "http_port_file": str(port_file), "kv_cache_memory_bytes": str(64 << 20), "worker_threads": "1"}
    if os.environ.get("QUIRE_WORKER"):
        flags["worker_binary"] = os.environ["QUIRE_WORKER"]
    server = LocalServer(DEMO, flags, 60, show_progress=False)
    assert eventually(port_file.exists)
    prompts = [f"Story {i}: Once upon a time" for i in range(LINES)]
    source.write_text("".join(
        json.dumps({"custom_id": f"r{i}", "method": "POST", "url": "/v1/completions",
                    "body": {"prompt": prompt, **PARAMS, **({"max_tokens": -1} if i == 7 else {})}}) + "\n"
        for i, prompt in enumerate(prompts)))
    command = [program, f"--input={source}", f"--output={output}", f"--server=http://127.0.0.1:{int(port_file.read_text())}", "--concurrency=8"]
    for kills in range(1, 4):
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, close_fds=False) as process:
            assert eventually(lambda: len(output.read_bytes().splitlines() if output.exists() else []) >= 60 * kills)
            process.kill()
        with open(output, "ab") as file:
            file.write(b'{"id":"torn')
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, close_fds=False)
    assert done.returncode == 3 and f"{LINES} of {LINES} lines answered" in done.stderr, done.stderr
    good, bad = read_lines(output), read_lines(pathlib.Path(f"{output}.errors.jsonl"))
    assert collections.Counter(line["custom_id"] for line in good + bad) == {f"r{i}": 1 for i in range(LINES)}
    assert [line["custom_id"] for line in bad] == ["r7"] and bad[0]["response"]["status_code"] == 400
    texts = {line["custom_id"]: line["response"]["body"]["choices"][0]["text"] for line in good}
    with LLM(server=server.address) as llm:
        for i, output_ in enumerate(llm.generate(prompts[10:30], SamplingParams(**PARAMS), use_tqdm=False), 10):
            assert texts[f"r{i}"] == output_.outputs[0].text
    server.stop()
