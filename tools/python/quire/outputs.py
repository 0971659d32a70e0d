"""What comes back: the same names, order of fields and printed form as vLLM's."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, List, Optional, Union


@dataclass
class Logprob:
    """Natural log of the model's own probability. rank: 1 = the likeliest; None where it is beyond those that were asked for."""
    logprob: float
    rank: Optional[int] = None
    decoded_token: Optional[str] = None


PromptLogprobs = List[Optional[Dict[int, Logprob]]]
SampleLogprobs = List[Dict[int, Logprob]]


@dataclass
class RequestMetrics:
    """Moments in seconds since the epoch, by the client's clock for arrival and end, and the server's durations between them."""
    arrival_time: float
    last_token_time: float
    first_scheduled_time: Optional[float]
    first_token_time: Optional[float]
    time_in_queue: Optional[float]
    finished_time: Optional[float] = None


@dataclass
class CompletionOutput:
    """One choice. finish_reason: "stop", "length" or "abort"; None: it goes on. stop_reason: the stop string or token id; None: the end of the
    text by itself. cumulative_logprob is known where logprobs or best_of were asked for."""
    index: int
    text: str
    token_ids: List[int]
    cumulative_logprob: Optional[float] = None
    logprobs: Optional[SampleLogprobs] = None
    finish_reason: Optional[str] = None
    stop_reason: Union[int, str, None] = None
    seed: Optional[int] = field(default=None, repr=False, compare=False)

    def finished(self) -> bool:
        return self.finish_reason is not None


@dataclass
class RequestOutput:
    """One prompt's choices."""
    request_id: str
    prompt: Optional[str]
    prompt_token_ids: Optional[List[int]]
    encoder_prompt: Optional[str] = field(default=None, init=False)
    encoder_prompt_token_ids: Optional[List[int]] = field(default=None, init=False)
    prompt_logprobs: Optional[PromptLogprobs] = None
    outputs: List[CompletionOutput] = field(default_factory=list)
    finished: bool = False
    metrics: Optional[RequestMetrics] = None
    lora_request: None = field(default=None, init=False)
    num_cached_tokens: Optional[int] = None
    multi_modal_placeholders: Dict[str, object] = field(default_factory=dict, init=False)


@dataclass
class BeamSearchSequence:
    """One text of a beam search: prompt and output together."""
    tokens: List[int]
    logprobs: SampleLogprobs
    cum_logprob: float = 0.0
    text: Optional[str] = None
    finish_reason: Optional[str] = None
    stop_reason: Union[int, str, None] = None


@dataclass
class BeamSearchOutput:
    """The best first."""
    sequences: List[BeamSearchSequence]
