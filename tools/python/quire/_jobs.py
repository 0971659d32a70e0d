"""Prompts and parameters -> requests with their names and seeds. Shared by the blocking and the asyncio class; any thread."""
from __future__ import annotations

import itertools
import uuid
from typing import Any, List, Mapping, NamedTuple, Optional, Sequence, Union, cast

from quire import _requests
from quire._defaults import default_sampling_params
from quire._proto import generate_pb2 as pb
from quire.inputs import PromptType
from quire.sampling_params import BeamSearchParams, SamplingParams

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1

ParamsArgument = Union[SamplingParams, Sequence[SamplingParams], None]
Conversation = Sequence[_requests.Message]


class Job(NamedTuple):
    name: str  # as RequestOutput.request_id tells it
    request: pb.GenerateRequest
    params: SamplingParams


def request_seed(seed: int, number: int) -> int:
    """The seed of the number-th request of an LLM(seed=...): 63 well mixed bits (SplitMix64)."""
    z = (seed + (number + 1) * _GOLDEN) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return (z ^ (z >> 31)) >> 1


class JobMaker:
    """model: the name that requests give; None: none."""

    def __init__(self, model: Optional[str], seed: Optional[int], info: pb.GetModelInfoResponse) -> None:
        self._model = model
        self._seed = seed
        self._info = info
        self._numbers = itertools.count()
        self._wire_prefix = uuid.uuid4().hex[:12]  # ids of several programs on one server must differ
        self.eos_token_ids = frozenset(info.eos_token_ids)

    def default_params(self) -> SamplingParams:
        return default_sampling_params(self._info.default_sampling_params_json)

    def params_for(self, prompts: Sequence[Any], given: ParamsArgument) -> List[SamplingParams]:
        """One for each prompt. Raises ValueError if there are not as many."""
        if given is None:
            return [self.default_params()] * len(prompts)
        if isinstance(given, SamplingParams):
            return [given] * len(prompts)
        return cast(List[SamplingParams], as_many(prompts, given, "sampling_params"))

    def prompt(self, prompt: PromptType, params: SamplingParams, priority: int = 0, request_id: Optional[str] = None) -> Job:
        job = self._job(params, request_id)
        _requests.set_prompt(prompt, job.request)
        if priority:
            job.request.priority = priority
        return job

    def chat(self, messages: Conversation, params: SamplingParams, add_generation_prompt: bool = True,
             tools: Optional[Sequence[Mapping[str, Any]]] = None, chat_template_kwargs: Optional[Mapping[str, Any]] = None,
             request_id: Optional[str] = None) -> Job:
        job = self._job(params, request_id)
        _requests.set_chat(messages, job.request.chat, add_generation_prompt=add_generation_prompt, tools=tools,
                           chat_template_kwargs=chat_template_kwargs)
        return job

    def beams(self, prompt: PromptType, params: BeamSearchParams) -> Job:
        job = self._new(SamplingParams(n=params.beam_width, logprobs=0), None)[0]
        _requests.beam_search_params(params, job.request.sampling_params)
        _requests.set_prompt(prompt, job.request)
        return job

    def _new(self, params: SamplingParams, request_id: Optional[str]) -> "tuple[Job, int]":
        number = next(self._numbers)
        job = Job(request_id or str(number), pb.GenerateRequest(echo=True), params)
        job.request.request_id = request_id or f"{self._wire_prefix}-{number}"
        if self._model is not None:
            job.request.model = self._model
        return job, number

    def _job(self, params: SamplingParams, request_id: Optional[str]) -> Job:
        if not isinstance(params, SamplingParams):
            raise TypeError(f"sampling_params must be SamplingParams, got {type(params).__name__}")
        job, number = self._new(params, request_id)
        _requests.sampling_params(params, job.request.sampling_params)
        if params.seed is None and self._seed is not None:
            job.request.sampling_params.seed = request_seed(self._seed, number)
        return job


def as_many(prompts: Sequence[Any], given: Sequence[Any], name: str) -> List[Any]:
    if len(given) != len(prompts):
        raise ValueError(f"The lengths of prompts ({len(prompts)}) and {name} ({len(given)}) must be the same.")
    return list(given)


def refuse(**arguments: Any) -> None:
    """What vLLM has and Quire does not serve is refused, never ignored."""
    for name, value in arguments.items():
        if value is not None:
            raise ValueError(f"{name} is not served")
