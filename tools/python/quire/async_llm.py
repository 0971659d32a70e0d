"""AsyncLLM: streams for asyncio programs. Shaped like vLLM's class of this name.

    async with AsyncLLM("DIR") as llm:
        async for output in llm.generate("Once upon a time", SamplingParams(output_kind=RequestOutputKind.DELTA)):
            print(output.outputs[0].text, end="")

Cancelling the task that iterates, or leaving the loop, cancels the request and frees what it holds in the server.
One event loop uses one AsyncLLM.
"""
from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, AsyncIterator, Dict, Iterable, List, Mapping, Optional, Sequence, Set, Type, Union, cast

import grpc
import grpc.aio

from quire._assemble import Assembler, view
from quire._channel import OPTIONS, make_calls
from quire._client import SMALL_CALL_SECONDS
from quire._connection import Connection
from quire._jobs import Conversation, Job, JobMaker
from quire._proto import generate_pb2 as pb
from quire._retry import Retry
from quire.engine_args import EngineArgs
from quire.errors import QuireError, RequestCancelledError, UnavailableError, from_rpc
from quire.inputs import PromptType
from quire.outputs import RequestOutput
from quire.sampling_params import RequestOutputKind, SamplingParams


class AsyncLLM:
    """Takes what LLM takes. A local server is started by the constructor, which waits for it; connections begin with the first call."""

    def __init__(self, model: Optional[str] = None, *, server: Optional[str] = None, seed: Optional[int] = None,
                 timeout: Optional[float] = None, retry_seconds: float = 60.0, **arguments: Any) -> None:
        self._connection = Connection(model, server, arguments)
        self._seed = seed
        self._timeout = timeout
        self._retry_seconds = retry_seconds
        self._metadata = self._connection.endpoint.metadata()
        self._channel: Any = None
        self._calls: Dict[str, Any] = {}
        self._jobs: Optional[JobMaker] = None
        self._running: Set[str] = set()  # ids of requests
        self._aborted: Set[str] = set()  # of them

    @classmethod
    def from_engine_args(cls, engine_args: EngineArgs) -> "AsyncLLM":
        return cls(**engine_args.asdict())

    async def __aenter__(self) -> "AsyncLLM":
        return self

    async def __aexit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        await self.close()

    async def close(self) -> None:
        """Cancels what runs, ends the connection and, if it is ours, the server."""
        if self._channel is not None:
            await self._channel.close()
            self._channel = None
        await asyncio.get_running_loop().run_in_executor(None, self._connection.close)

    def shutdown(self) -> None:
        """Ends the local server without waiting for a loop."""
        self._connection.close()

    # ---- requests ----

    def generate(self, prompt: PromptType, sampling_params: Optional[SamplingParams] = None, request_id: Optional[str] = None, *,
                 priority: int = 0) -> AsyncIterator[RequestOutput]:
        """Yields what there is after each step: all so far, only the news or only the end, by sampling_params.output_kind."""
        return self._stream(lambda jobs: jobs.prompt(prompt, sampling_params or jobs.default_params(), priority, request_id))

    def chat(self, messages: Conversation, sampling_params: Optional[SamplingParams] = None, request_id: Optional[str] = None, *,
             add_generation_prompt: bool = True, tools: Optional[Sequence[Mapping[str, Any]]] = None,
             chat_template_kwargs: Optional[Mapping[str, Any]] = None) -> AsyncIterator[RequestOutput]:
        """Likewise for a conversation."""
        return self._stream(lambda jobs: jobs.chat(messages, sampling_params or jobs.default_params(), add_generation_prompt, tools,
                                                   chat_template_kwargs, request_id))

    async def abort(self, request_id: Union[str, Iterable[str]]) -> None:
        """Ends requests by the id that they were given; their iterators end with what came, finish_reason "abort". Unknown ids are ignored."""
        ids = [request_id] if isinstance(request_id, str) else list(request_id)
        self._aborted.update(self._running.intersection(ids))
        await self._call("Abort", pb.AbortRequest(request_ids=ids))

    # ---- questions ----

    async def encode(self, text: str, add_special_tokens: bool = True) -> List[int]:
        return list((await self._call("Tokenize", pb.TokenizeRequest(text=text, add_special_tokens=add_special_tokens))).ids)

    async def decode(self, token_ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        return str((await self._call("Detokenize", pb.DetokenizeRequest(ids=token_ids, skip_special_tokens=skip_special_tokens))).text)

    async def get_default_sampling_params(self) -> SamplingParams:
        return (await self._job_maker()).default_params()

    async def get_model_info(self) -> pb.GetModelInfoResponse:
        return cast(pb.GetModelInfoResponse, await self._call("GetModelInfo", pb.GetModelInfoRequest()))

    async def get_server_info(self) -> pb.GetServerInfoResponse:
        return cast(pb.GetServerInfoResponse, await self._call("GetServerInfo", pb.GetServerInfoRequest()))

    async def get_loads(self) -> pb.GetLoadsResponse:
        return cast(pb.GetLoadsResponse, await self._call("GetLoads", pb.GetLoadsRequest()))

    # ---- inside ----

    def _method(self, name: str) -> Any:
        if self._channel is None:
            endpoint = self._connection.endpoint
            credentials = endpoint.credentials()
            self._channel = (grpc.aio.insecure_channel(endpoint.server, OPTIONS) if credentials is None else
                             grpc.aio.secure_channel(endpoint.server, credentials, OPTIONS))
            self._calls = make_calls(self._channel)
        return self._calls[name]

    async def _call(self, name: str, request: Any) -> Any:
        retry = Retry(self._retry_seconds)
        while True:
            try:
                return await self._method(name)(request, timeout=SMALL_CALL_SECONDS, metadata=self._metadata)
            except grpc.RpcError as error:
                await self._wait(retry, from_rpc(error))

    async def _wait(self, retry: Retry, error: QuireError) -> None:
        server = self._connection.server
        if isinstance(error, UnavailableError) and server is not None:
            await asyncio.get_running_loop().run_in_executor(None, server.explain, error)
        seconds = retry.wait_after(error)
        if seconds is None:
            raise error from None
        await asyncio.sleep(seconds)

    async def _job_maker(self) -> JobMaker:
        if self._jobs is None:
            self._jobs = JobMaker(self._connection.model_name, self._seed, await self.get_model_info())
        return self._jobs

    async def _stream(self, make: Any) -> AsyncIterator[RequestOutput]:
        jobs = await self._job_maker()
        job: Job = make(jobs)
        kind = job.params.output_kind
        job.request.stream = kind != RequestOutputKind.FINAL_ONLY and (job.params.best_of or job.params.n) == job.params.n
        assembler = Assembler(job.name, job.request, job.params, jobs.eos_token_ids)
        is_chat = job.request.HasField("chat")
        responses = self._responses(job.request)
        self._running.add(job.request.request_id)
        try:
            async for response in responses:
                ids = assembler.needs_echoed_text(response)
                if ids is not None:
                    assembler.echoed_text = await self.decode(ids, job.params.skip_special_tokens)
                    if is_chat:
                        rendered = await self._call("Tokenize", pb.TokenizeRequest(chat=job.request.chat))
                        assembler.output.prompt = rendered.text
                news = assembler.add(response)
                if kind != RequestOutputKind.FINAL_ONLY or assembler.finished:
                    yield view(assembler, news, kind)
        except RequestCancelledError:
            if job.request.request_id not in self._aborted:
                raise
            yield view(assembler, assembler.abort(), kind)
        finally:
            self._running.discard(job.request.request_id)
            self._aborted.discard(job.request.request_id)
            await cast(Any, responses).aclose()  # now, not when the collector comes by

    async def _responses(self, request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        retry = Retry(self._retry_seconds)
        while True:
            started = False
            call = self._method("Generate")(request, timeout=self._timeout, metadata=self._metadata)
            try:
                async for response in call:
                    started = True
                    yield response
                return
            except grpc.RpcError as error:
                await self._wait(retry, from_rpc(error, started))
            finally:
                call.cancel()
