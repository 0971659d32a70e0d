"""Retries, errors, keys and TLS against a scripted server: what a real one does rarely."""
import asyncio
import subprocess
import threading
from concurrent import futures

import grpc
import pytest

from quire import (AsyncLLM, AuthenticationError, InternalServerError, InvalidRequestError, LLM, NotFoundError, NotServedError, OverloadedError,
                   PermissionDeniedError, SamplingParams, UnavailableError)
from quire._channel import METHODS
from quire._proto import generate_pb2 as pb
from quire._retry import Retry
from quire.errors import from_rpc


class Scripted:
    """A server whose Generate does what `script` says next: a list of responses, or (code, message, trailers), or both in turn."""

    def __init__(self, credentials=None):
        self.script, self.seen, self.metadata = [], [], []
        self._lock = threading.Lock()
        handlers = {}
        for name, (request, response) in METHODS.items():
            make = grpc.unary_stream_rpc_method_handler if name == "Generate" else grpc.unary_unary_rpc_method_handler
            handlers[name] = make(getattr(self, name, self._empty(response)), request_deserializer=request.FromString,
                                  response_serializer=response.SerializeToString)
        self.server = grpc.server(futures.ThreadPoolExecutor(8))
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("quire.v1.Generator", handlers),))
        if credentials is None:
            self.port = self.server.add_insecure_port("127.0.0.1:0")
        else:
            self.port = self.server.add_secure_port("127.0.0.1:0", credentials)
        self.server.start()

    @staticmethod
    def _empty(response):
        return lambda request, context: response()

    def GetModelInfo(self, request, context):
        self.metadata.append(dict(context.invocation_metadata()))
        return pb.GetModelInfoResponse(eos_token_ids=[7])

    def Generate(self, request, context):
        with self._lock:
            self.seen.append(request)
            steps = self.script.pop(0)
        for step in steps:
            if isinstance(step, tuple):
                code, message, trailers = step
                context.set_trailing_metadata(tuple(trailers.items()))
                context.abort(code, message)
            yield step


@pytest.fixture
def server():
    made = Scripted()
    yield made
    made.server.stop(0)


def complete(index=0, **fields):
    return pb.GenerateResponse(complete=pb.GenerateResponse.Complete(index=index, finish_reason="stop", **fields))


OK = [complete(text="xgood", output_ids=[3, 7], prompt_token_ids=[1], matched_stop_token_id=7)]
UNAVAILABLE = (grpc.StatusCode.UNAVAILABLE, "draining", {"grpc-retry-pushback-ms": "10"})
FULL = (grpc.StatusCode.RESOURCE_EXHAUSTED, "the queue is full", {"grpc-retry-pushback-ms": "5", "retry-after-ms": "7"})


def make_llm(server, **more):
    return LLM(server=f"127.0.0.1:{server.port}", max_concurrency=4, **more)


def generate(llm):
    return llm.generate("x", SamplingParams(), use_tqdm=False)[0]


@pytest.mark.parametrize("failures", [[], [UNAVAILABLE], [UNAVAILABLE] * 4, [FULL] * 30, [FULL, UNAVAILABLE, FULL]])
def test_it_comes_back(server, failures):
    server.script = [[failure] for failure in failures] + [OK]
    output = generate(make_llm(server))
    assert (output.outputs[0].text, output.outputs[0].stop_reason, output.prompt_token_ids) == ("good", None, [1])
    assert len(server.seen) == len(failures) + 1
    assert len({r.request_id for r in server.seen}) == 1 and server.seen[0].echo


def test_it_gives_up(server):
    server.script = [[UNAVAILABLE]] * 9
    with pytest.raises(UnavailableError, match="draining"):
        generate(make_llm(server))
    assert len(server.seen) == 5


def test_it_gives_up_when_the_time_is_over(server):
    server.script = [[FULL]] * 9
    with pytest.raises(OverloadedError) as caught:
        generate(make_llm(server, retry_seconds=0.012))
    assert len(server.seen) == 3 and caught.value.retry_after == 0.005


@pytest.mark.parametrize("code, kind", [
    ("INVALID_ARGUMENT", InvalidRequestError), ("FAILED_PRECONDITION", InvalidRequestError), ("UNAUTHENTICATED", AuthenticationError),
    ("PERMISSION_DENIED", PermissionDeniedError), ("NOT_FOUND", NotFoundError), ("UNIMPLEMENTED", NotServedError), ("INTERNAL", InternalServerError),
    ("RESOURCE_EXHAUSTED", OverloadedError)])
def test_other_failures_are_not_tried_again(server, code, kind):
    server.script = [[(grpc.StatusCode[code], "because", {"error-param": "sampling_params.top_p"})]]
    with pytest.raises(kind) as caught:
        generate(make_llm(server))
    assert (caught.value.code, caught.value.field, caught.value.message) == (code, "sampling_params.top_p", "because")
    assert str(caught.value) == f"{code} (sampling_params.top_p): because" and len(server.seen) == 1


def test_after_the_first_answer_it_does_not_try_again(server):
    server.script = [[complete(0, text="x"), UNAVAILABLE], OK]
    llm = make_llm(server)
    with pytest.raises(UnavailableError) as caught:
        llm.generate("x", SamplingParams(n=2), use_tqdm=False)
    assert caught.value.started and len(server.seen) == 1


def test_the_asyncio_client_does_the_same(server):
    chunk = pb.GenerateResponse(chunk=pb.GenerateResponse.Chunk(token_ids=[3], text="xgo", prompt_token_ids=[1]))
    server.script = [[UNAVAILABLE], [FULL], [chunk, complete(text="od", output_ids=[3, 7])], [chunk, UNAVAILABLE]]

    async def main():
        async with AsyncLLM(server=f"127.0.0.1:{server.port}") as llm:
            texts = [o.outputs[0].text async for o in llm.generate("x", SamplingParams())]
            assert texts == ["go", "good"] and len(server.seen) == 3
            with pytest.raises(UnavailableError) as caught:
                async for _ in llm.generate("x", SamplingParams()):
                    pass
            assert caught.value.started and len(server.seen) == 4

    asyncio.run(main())


def test_nobody_there():
    with pytest.raises(UnavailableError):
        LLM(server="127.0.0.1:1", retry_seconds=0.5)


def test_the_key_is_sent(server, monkeypatch):
    make_llm(server, api_key="secret")
    assert server.metadata[-1]["authorization"] == "Bearer secret"
    monkeypatch.setenv("QUIRE_API_KEY", "other")
    make_llm(server)
    assert server.metadata[-1]["authorization"] == "Bearer other"


def test_tls(tmp_path):
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    server = Scripted(grpc.ssl_server_credentials([(key.read_bytes(), cert.read_bytes())], cert.read_bytes(), require_client_auth=True))
    try:
        server.script = [OK]
        assert generate(make_llm(server, ca_cert=str(cert), client_cert=str(cert), client_key=str(key))).outputs[0].text == "good"
        for bad in (dict(), dict(ca_cert=str(cert)), dict(tls=True, client_cert=str(cert), client_key=str(key))):
            with pytest.raises(UnavailableError):
                make_llm(server, retry_seconds=0.2, **bad)
        with pytest.raises(ValueError):
            make_llm(server, ca_cert=str(cert), client_cert=str(cert))
    finally:
        server.server.stop(0)


def test_the_pause_is_bounded():
    class Failed(grpc.RpcError):
        def code(self):
            return grpc.StatusCode.RESOURCE_EXHAUSTED

        def details(self):
            return "full"

        def trailing_metadata(self):
            return (("grpc-retry-pushback-ms", "999999"),)

    retry, waits = Retry(60), []
    while (wait := retry.wait_after(from_rpc(Failed()))) is not None:
        waits.append(wait)
    assert waits == [10.0] * 6
