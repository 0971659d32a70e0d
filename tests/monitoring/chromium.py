"""A headless Chromium, driven over pipes by the DevTools protocol: no port, no package."""
import base64
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import time


class Chromium:
    """One page of its own. What the page logs, throws and blocks is in `complaints`."""

    def __init__(self, binary: str):
        self.folder = tempfile.mkdtemp(prefix="quire_chromium.")
        their_read, write = os.pipe()
        self.read, their_write = os.pipe()
        self.write = write

        def place_pipes():  # 3 and 4 are where it looks; first out of each other's way
            a, b = (fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (their_read, their_write))
            os.dup2(a, 3)
            os.dup2(b, 4)

        environment = {**os.environ, "HOME": self.folder}
        self.process = subprocess.Popen(  # pylint: disable=subprocess-popen-preexec-fn
            [binary, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server", "--hide-scrollbars",
             "--remote-debugging-pipe", f"--user-data-dir={self.folder}", "about:blank"],
            preexec_fn=place_pipes, close_fds=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
        os.close(their_read)
        os.close(their_write)
        self.buffer = b""
        self.last_id = 0
        self.session = None
        self.complaints = []
        self.requested = []  # URLs
        page = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(domain + ".enable")

    def _receive(self) -> dict:
        while b"\0" not in self.buffer:
            more = os.read(self.read, 1 << 20)
            if not more:
                raise AssertionError("Chromium is gone")
            self.buffer += more
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def call(self, method: str, **params) -> dict:
        self.last_id += 1
        message = {"id": self.last_id, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self.last_id:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                return answer["result"]
            if answer.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
                self.complaints.append(json.dumps(answer["params"])[:2000])
            if answer.get("method") == "Network.requestWillBeSent":
                self.requested.append(answer["params"]["request"]["url"])

    def open(self, url: str, width: int = 1280, height: int = 1100, theme: str = "light") -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
        self.call("Page.navigate", url=url)

    def run(self, script: str):
        """The value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in answer:
            raise AssertionError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def await_true(self, script: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not self.run(script):
            if time.monotonic() > end:
                raise AssertionError(f"never true: {script}\n" + "\n".join(self.complaints))
            time.sleep(0.1)

    def screenshot(self, path: str) -> bytes:
        png = base64.b64decode(self.call("Page.captureScreenshot")["data"])
        with open(path, "wb") as file:
            file.write(png)
        return png

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.read)
        os.close(self.write)
        shutil.rmtree(self.folder, ignore_errors=True)
