"""Fixtures: the real coordinator on the demo model, and clients of it. Run by tests/clients/test.sh."""
import hashlib
import os
import pathlib
import signal
import socket
import subprocess
import time

import openai
import pytest

from chat_model import make_chat_model

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Server:
    """One coordinator with a worker of its own, on free ports of the loopback interface."""

    def __init__(self, folder, model, *flags):
        binary = os.environ.get("QUIRE_COORDINATOR", str(ROOT / "bazel-bin" / "coordinator" / "coordinator"))
        self.port = free_port()
        port_file = folder / "grpc_port"
        self.log = folder / "log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [binary, f"--model={model}", "--served_model_name=demo", "--workers=local:1", "--grpc_port=0", f"--port={self.port}",
                 f"--port_file={port_file}", f"--kv_cache_memory_bytes={64 << 20}", "--shutdown_timeout=2s", *flags],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        end = time.monotonic() + 120
        while not port_file.exists() or not port_file.read_text():
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise RuntimeError("no server:\n" + self.log.read_text(errors="replace")[-4000:])
            time.sleep(0.02)
        self.url = f"http://127.0.0.1:{self.port}/v1"

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    return make_chat_model(tmp_path_factory.mktemp("models") / "demo-chat")


@pytest.fixture(scope="session")
def server(tmp_path_factory, model):
    running = Server(tmp_path_factory.mktemp("server"), model)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def client(server):
    with openai.OpenAI(base_url=server.url, api_key="unused", max_retries=0, timeout=60) as made:
        yield made


def make_key(tenant, **limits):
    """A key and its line for --api_key_file."""
    key_id, secret, salt = os.urandom(8).hex(), os.urandom(32).hex(), os.urandom(16)
    digest = hashlib.sha256(salt + secret.encode()).hexdigest()
    words = "".join(f" {name}={value}" for name, value in limits.items())
    return f"qk-{key_id}-{secret}", f"id={key_id} hash={salt.hex()}:{digest} tenant={tenant}{words}"
