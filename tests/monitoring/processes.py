"""A real coordinator on the demo model with something to do, a Prometheus that scrapes it, and HTTP without proxies."""
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.parse
import urllib.request

PATIENCE = 120  # seconds
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # nothing stands between this machine and itself


def find(program: str):
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/bin:/usr/local/bin")


def get(url: str) -> str:
    with _OPENER.open(url, timeout=30) as answer:
        return answer.read().decode()


def post(url: str, body: dict) -> str:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with _OPENER.open(request, timeout=60) as answer:
        return answer.read().decode()


def await_true(what: str, condition, process: subprocess.Popen, log: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        if process.poll() is not None or time.monotonic() > end:
            with open(log, encoding="utf-8", errors="replace") as file:
                raise AssertionError(f"{what}:\n{file.read()[-4000:]}")
        time.sleep(0.05)


class Child:
    """A process with a folder of its own, ended with all that it started."""

    def __init__(self, make_command):
        self.folder = tempfile.mkdtemp(prefix="quire_monitoring.", dir=os.environ.get("TEST_TMPDIR"))
        self.log = os.path.join(self.folder, "log")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(make_command(self.folder), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Coordinator(Child):
    """Ready when the constructor returns; `address` is that of its HTTP."""

    def __init__(self, *flags: str):
        binary = os.environ.get("QUIRE_COORDINATOR", "coordinator/coordinator")
        super().__init__(lambda folder: [
            binary, "--model=" + os.path.realpath("models/demo"), "--served_model_name=demo", "--workers=local:1", "--port=0", "--grpc_port=0",
            f"--http_port_file={folder}/http_port", f"--port_file={folder}/grpc_port", f"--kv_cache_memory_bytes={8 << 20}",
            "--shutdown_timeout=1s", *flags])
        grpc_file, http_file = (os.path.join(self.folder, name) for name in ("grpc_port", "http_port"))
        try:
            await_true("no coordinator", lambda: os.path.exists(grpc_file) and os.path.exists(http_file), self.process, self.log)
        except AssertionError:
            self.stop()
            raise
        with open(grpc_file, encoding="utf-8") as file:
            self.grpc_address = "127.0.0.1:" + file.read().strip()
        with open(http_file, encoding="utf-8") as file:
            self.address = "127.0.0.1:" + file.read().strip()

    def url(self, path: str) -> str:
        return f"http://{self.address}{path}"

    def complete(self, prompt: str, **more) -> str:
        return post(self.url("/v1/completions"), {"model": "demo", "prompt": prompt, "max_tokens": 64, **more})


class Load:
    """Requests of several kinds, one after the other in two threads, until the `with` ends."""

    def __init__(self, coordinator: Coordinator):
        self.coordinator = coordinator
        self.stopped = threading.Event()
        self.failure = None
        self.threads = [threading.Thread(target=self._run, args=(i,)) for i in range(2)]

    def _run(self, number: int) -> None:
        i = 0
        while not self.stopped.is_set():
            try:
                i += 1
                self.coordinator.complete(f"Once there was a fox. It ran {i % 7} times.", stream=True, n=1 + i % 3, temperature=0.8, ignore_eos=True)
                subprocess.run([os.environ.get("QUIRE_GENERATE", "tools/generate"), "--server=" + self.coordinator.grpc_address, "--max_tokens=8",
                                f"Client {number} says"], stdout=subprocess.DEVNULL, check=True, timeout=60)
            except Exception as error:  # pylint: disable=broad-except
                self.failure = error
                return

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join()
        if self.failure is not None:
            raise self.failure


class Prometheus(Child):
    """Scrapes a coordinator every half second."""

    def __init__(self, binary: str, target: str):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"

        def command(folder):
            config = {"global": {"scrape_interval": "500ms", "scrape_timeout": "500ms"},
                      "scrape_configs": [{"job_name": "quire", "static_configs": [{"targets": [target]}]}]}
            with open(f"{folder}/prometheus.yml", "w", encoding="utf-8") as file:
                json.dump(config, file)  # JSON is YAML
            return [binary, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
                    "--web.listen-address=" + self.address, "--log.level=warn"]

        super().__init__(command)
        try:
            await_true("no Prometheus", self._is_ready, self.process, self.log)
        except AssertionError:
            self.stop()
            raise

    def _is_ready(self) -> bool:
        try:
            return "ready" in get(f"http://{self.address}/-/ready").lower()
        except OSError:
            return False

    def query(self, expr: str) -> list:
        answer = json.loads(get(f"http://{self.address}/api/v1/query?" + urllib.parse.urlencode({"query": expr})))
        if answer["status"] != "success":
            raise AssertionError(f"{expr}: {answer}")
        return answer["data"]["result"]
