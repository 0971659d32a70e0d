"""The blocking client: calls with retries. Any number of threads may use one."""
from __future__ import annotations

import threading
from typing import Any, Callable, Iterator, Optional

import grpc

from quire._channel import OPTIONS, Endpoint, make_calls
from quire._proto import generate_pb2 as pb
from quire._retry import Retry
from quire.errors import QuireError, UnavailableError, from_rpc

SMALL_CALL_SECONDS = 30.0


class Client:
    """explain: called with an UnavailableError before it is raised or another attempt is made; may raise what is known better."""

    def __init__(self, endpoint: Endpoint, retry_seconds: float, explain: Optional[Callable[[QuireError], None]] = None) -> None:
        credentials = endpoint.credentials()
        if credentials is None:
            self._channel = grpc.insecure_channel(endpoint.server, OPTIONS)
        else:
            self._channel = grpc.secure_channel(endpoint.server, credentials, OPTIONS)
        self._calls = make_calls(self._channel)
        self._metadata = endpoint.metadata()
        self._retry_seconds = retry_seconds
        self._explain = explain

    def close(self) -> None:
        self._channel.close()

    def call(self, name: str, request: Any, timeout: float = SMALL_CALL_SECONDS) -> Any:
        """One of the small methods."""
        retry = Retry(self._retry_seconds)
        while True:
            try:
                return self._calls[name](request, timeout=timeout, metadata=self._metadata)
            except grpc.RpcError as error:
                self._wait(retry, from_rpc(error), threading.Event())

    def generate(self, request: pb.GenerateRequest, timeout: Optional[float], stop: threading.Event,
                 on_call: Callable[[Any], None]) -> Iterator[pb.GenerateResponse]:
        """Yields the responses. on_call gets each attempt's call, which another thread may cancel; `stop` ends the wait for the next attempt."""
        retry = Retry(self._retry_seconds)
        while True:
            started = False
            call = self._calls["Generate"](request, timeout=timeout, metadata=self._metadata)
            on_call(call)
            try:
                for response in call:
                    started = True
                    yield response
                return
            except grpc.RpcError as error:
                self._wait(retry, from_rpc(error, started), stop)
            finally:
                call.cancel()  # of no effect at its end; else nobody reads on

    def _wait(self, retry: Retry, error: QuireError, stop: threading.Event) -> None:
        if isinstance(error, UnavailableError) and self._explain is not None:
            self._explain(error)
        seconds = retry.wait_after(error)
        if seconds is None or stop.wait(seconds):
            raise error from None
