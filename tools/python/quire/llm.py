"""LLM: many prompts in, all outputs back. Shaped like vLLM's class of this name.

    LLM("DIR")                      starts a coordinator on this machine, which ends with this object, the interpreter or its death
    LLM(server="host:port")         uses one that runs

Threads: a call's requests run on threads of its own, at most `max_concurrency`; any number of threads may call.
"""
from __future__ import annotations

from types import TracebackType
from typing import Any, Callable, List, Mapping, Optional, Sequence, Type, Union, cast

from quire._assemble import Assembler
from quire._client import Client
from quire._connection import Connection
from quire._jobs import Conversation, Job, JobMaker, ParamsArgument, as_many, refuse
from quire._many import Cancellation, run_all
from quire._progress import Progress
from quire._proto import generate_pb2 as pb
from quire.inputs import PromptType, as_prompt_list
from quire.outputs import BeamSearchOutput, BeamSearchSequence, RequestOutput
from quire.sampling_params import BeamSearchParams, SamplingParams
from quire.tokenizer import Tokenizer

_MOST_AT_ONCE = 512    # threads of one call
_BEYOND_RUNNING = 32   # so many requests wait in the server, that it never runs dry

UseTqdm = Union[bool, Callable[..., Any]]


class LLM:
    """model: a directory, or the name of a model in Hugging Face's local cache; with `server`: the model's name there (default: its only one).

    seed: makes requests without a seed of their own repeatable, in their order. max_concurrency: requests in flight per call.
    timeout: seconds that a request may take. retry_seconds: how long waits for another attempt may take together.
    With `server`: api_key, ca_cert, client_cert, client_key (files in PEM), tls.
    Without: tensor_parallel_size, revision, start_timeout (seconds), show_progress, and flags of the coordinator under vLLM's names, see
    engine_args.py.
    Raises: TypeError, ValueError, FileNotFoundError for bad arguments; ServerStartError; UnavailableError.
    """

    def __init__(self, model: Optional[str] = None, *, server: Optional[str] = None, seed: Optional[int] = None,
                 max_concurrency: Optional[int] = None, timeout: Optional[float] = None, retry_seconds: float = 60.0, **arguments: Any) -> None:
        self._timeout = timeout
        self._connection = Connection(model, server, arguments)
        ours = self._connection.server
        self._client = Client(self._connection.endpoint, retry_seconds, ours.explain if ours is not None else None)
        try:
            self._info: pb.GetModelInfoResponse = self._client.call("GetModelInfo", pb.GetModelInfoRequest())
            self._concurrency = max_concurrency or min(_MOST_AT_ONCE, self.get_server_info().max_num_seqs + _BEYOND_RUNNING)
        except BaseException:
            self.close()
            raise
        self._jobs = JobMaker(self._connection.model_name, seed, self._info)

    # ---- life ----

    def close(self) -> None:
        """Ends the connection and, if it is ours, the server. May be called again."""
        if hasattr(self, "_client"):
            self._client.close()
        if hasattr(self, "_connection"):
            self._connection.close()

    def __enter__(self) -> "LLM":
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        self.close()

    def __del__(self) -> None:
        try:
            self.close()
        except Exception:  # pylint: disable=broad-except  # the interpreter may be half gone
            pass

    # ---- what vLLM's class offers ----

    def generate(self, prompts: Union[PromptType, Sequence[PromptType]], sampling_params: ParamsArgument = None, *, use_tqdm: UseTqdm = True,
                 lora_request: None = None, priority: Optional[Sequence[int]] = None) -> List[RequestOutput]:
        """Completes each prompt; the outputs come in the order of the prompts.

        sampling_params: one for all, or one each; None: the model's defaults. Raises QuireError of the first request that fails: the others end.
        """
        refuse(lora_request=lora_request)
        listed = as_prompt_list(prompts)
        ranks = [0] * len(listed) if priority is None else as_many(listed, priority, "priority")
        params = self._jobs.params_for(listed, sampling_params)
        return self._run([self._jobs.prompt(*each) for each in zip(listed, params, ranks)], use_tqdm)

    def chat(self, messages: Union[Conversation, Sequence[Conversation]], sampling_params: ParamsArgument = None, use_tqdm: UseTqdm = True,
             lora_request: None = None, chat_template: Optional[str] = None, chat_template_content_format: str = "auto",
             add_generation_prompt: bool = True, continue_final_message: bool = False, tools: Optional[Sequence[Mapping[str, Any]]] = None,
             chat_template_kwargs: Optional[Mapping[str, Any]] = None) -> List[RequestOutput]:
        """Answers one conversation, or each of a list of them. The model's own chat template makes the prompt."""
        refuse(lora_request=lora_request, chat_template=chat_template, continue_final_message=continue_final_message or None)
        del chat_template_content_format  # parts are joined to text either way
        several = bool(messages) and not isinstance(messages[0], Mapping)
        many = cast(Sequence[Conversation], messages if several else [messages])
        params = self._jobs.params_for(many, sampling_params)
        return self._run([self._jobs.chat(conversation, each, add_generation_prompt, tools, chat_template_kwargs)
                          for conversation, each in zip(many, params)], use_tqdm)

    def beam_search(self, prompts: Union[PromptType, Sequence[PromptType]], params: BeamSearchParams, lora_request: None = None,
                    use_tqdm: UseTqdm = False, concurrency_limit: Optional[int] = None) -> List[BeamSearchOutput]:
        """The beam_width most probable texts of each prompt, the best first, as Hugging Face generate finds them."""
        refuse(lora_request=lora_request)
        jobs = [self._jobs.beams(prompt, params) for prompt in as_prompt_list(prompts)]
        return [self._beams(output) for output in self._run(jobs, use_tqdm, concurrency_limit)]

    def get_tokenizer(self) -> Tokenizer:
        return Tokenizer(self._client, self._info)

    def get_default_sampling_params(self) -> SamplingParams:
        """What the model's generation_config.json recommends, else vLLM's defaults."""
        return self._jobs.default_params()

    # ---- ours ----

    @property
    def server_address(self) -> str:
        """host:port"""
        return self._connection.endpoint.server

    def get_model_info(self) -> pb.GetModelInfoResponse:
        return self._info

    def get_server_info(self) -> pb.GetServerInfoResponse:
        return cast(pb.GetServerInfoResponse, self._client.call("GetServerInfo", pb.GetServerInfoRequest()))

    def get_loads(self) -> pb.GetLoadsResponse:
        """What runs and waits now, blocks of each rank, counters."""
        return cast(pb.GetLoadsResponse, self._client.call("GetLoads", pb.GetLoadsRequest()))

    # ---- inside ----

    def _run(self, jobs: Sequence[Job], use_tqdm: UseTqdm, concurrency: Optional[int] = None) -> List[RequestOutput]:
        progress = Progress(use_tqdm, len(jobs))

        def on_result(output: RequestOutput) -> None:
            progress.add(len(output.prompt_token_ids or []), sum(len(choice.token_ids) for choice in output.outputs))

        try:
            return run_all(jobs, self._work, concurrency or self._concurrency, on_result)
        finally:
            progress.close()

    def _work(self, job: Job, cancellation: Cancellation) -> RequestOutput:
        """One request, in a thread of run_all."""
        assembler = Assembler(job.name, job.request, job.params, self._jobs.eos_token_ids)
        for response in self._client.generate(job.request, self._timeout, cancellation.stop, cancellation.add):
            ids = assembler.needs_echoed_text(response)
            if ids is not None:
                assembler.echoed_text = self._text(ids, job.params.skip_special_tokens)
            assembler.add(response)
        output = assembler.output
        if job.request.HasField("chat") and output.prompt_token_ids is not None:
            output.prompt = self._client.call("Tokenize", pb.TokenizeRequest(chat=job.request.chat)).text
        return output

    def _text(self, ids: Sequence[int], skip_special_tokens: bool) -> str:
        return str(self._client.call("Detokenize", pb.DetokenizeRequest(ids=ids, skip_special_tokens=skip_special_tokens)).text)

    def _beams(self, output: RequestOutput) -> BeamSearchOutput:
        prompt = output.prompt_token_ids or []
        return BeamSearchOutput([
            BeamSearchSequence(prompt + c.token_ids, c.logprobs or [], c.cumulative_logprob or 0.0, self._text(prompt + c.token_ids, False),
                               c.finish_reason, c.stop_reason) for c in output.outputs])
