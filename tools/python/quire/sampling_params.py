"""How to choose the next tokens: vLLM's names, defaults and rules. What the server limits further, it refuses by name."""
from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any, Dict, List, Optional, Union

_GREEDY_BELOW = 1e-5
_LEAST_TEMPERATURE = 0.01


class RequestOutputKind(Enum):
    """What a streaming call yields: all so far, only the news, or only the end."""
    CUMULATIVE = 0
    DELTA = 1
    FINAL_ONLY = 2


@dataclass
class StructuredOutputsParams:
    """A form that the output must have; one of them. `json` is a schema, as a dict or as text."""
    json: Optional[Union[str, Dict[str, Any]]] = None
    regex: Optional[str] = None
    choice: Optional[List[str]] = None
    grammar: Optional[str] = None
    json_object: Optional[bool] = None
    structural_tag: Optional[str] = None

    def __post_init__(self) -> None:
        given = [f.name for f in fields(self) if getattr(self, f.name) not in (None, False)]
        if len(given) != 1:
            raise ValueError(f"structured outputs want exactly one form, got {given or 'none'}")


def _require(good: bool, name: str, rule: str, value: Any) -> None:
    if not good:
        raise ValueError(f"{name} must be {rule}, got {value}.")


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@dataclass
class SamplingParams:
    """As in vLLM. A value that is not given is vLLM's default, not the model's: LLM.get_default_sampling_params() has the model's.

    best_of is ours: so many are drawn, the n of the highest log-prob per token are answered.
    """
    n: int = 1
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: Optional[int] = None
    stop: Optional[Union[str, List[str]]] = None
    stop_token_ids: Optional[List[int]] = None
    bad_words: Optional[List[str]] = None
    include_stop_str_in_output: bool = False
    ignore_eos: bool = False
    max_tokens: Optional[int] = 16
    min_tokens: int = 0
    logprobs: Optional[int] = None
    prompt_logprobs: Optional[int] = None
    detokenize: bool = field(default=True, repr=False)
    skip_special_tokens: bool = True
    spaces_between_special_tokens: bool = True
    truncate_prompt_tokens: Optional[int] = None
    structured_outputs: Optional[StructuredOutputsParams] = None
    guided_decoding: Optional[StructuredOutputsParams] = field(default=None, repr=False)
    output_kind: RequestOutputKind = field(default=RequestOutputKind.CUMULATIVE, repr=False)
    logit_bias: Optional[Dict[int, float]] = field(default=None, repr=False)
    allowed_token_ids: Optional[List[int]] = field(default=None, repr=False)
    best_of: Optional[int] = field(default=None, repr=False)
    extra_args: Optional[Dict[str, Any]] = None

    def __post_init__(self) -> None:
        if self.stop is None:
            self.stop = []
        elif isinstance(self.stop, str):
            self.stop = [self.stop]
        self.stop_token_ids = list(self.stop_token_ids or [])
        self.bad_words = list(self.bad_words or [])
        if self.guided_decoding is not None:
            self.structured_outputs, self.guided_decoding = self.guided_decoding, None
        if self.seed == -1:
            self.seed = None
        if self.top_k == -1:
            self.top_k = 0
        self._verify()
        if self.temperature < _GREEDY_BELOW:
            if max(self.n, self.best_of or 1) > 1:
                raise ValueError(f"n must be 1 when using greedy sampling, got {max(self.n, self.best_of or 1)}.")
            self.temperature, self.top_p, self.top_k, self.min_p = 0.0, 1.0, 0, 0.0
        elif self.temperature < _LEAST_TEMPERATURE:
            self.temperature = _LEAST_TEMPERATURE  # below, the division makes infinities of float16 logits

    def _verify(self) -> None:
        for name in ("n", "top_k", "min_tokens"):
            if not _is_int(getattr(self, name)):
                raise TypeError(f"{name} must be an integer, got {type(getattr(self, name)).__name__}")
        _require(self.n >= 1, "n", "at least 1", self.n)
        _require(self.best_of is None or self.best_of >= self.n, "best_of", f"at least n={self.n}", self.best_of)
        _require(-2.0 <= self.presence_penalty <= 2.0, "presence_penalty", "in [-2, 2]", self.presence_penalty)
        _require(-2.0 <= self.frequency_penalty <= 2.0, "frequency_penalty", "in [-2, 2]", self.frequency_penalty)
        _require(self.repetition_penalty > 0.0, "repetition_penalty", "greater than zero", self.repetition_penalty)
        _require(self.temperature >= 0.0 and math.isfinite(self.temperature), "temperature", "non-negative", self.temperature)
        _require(0.0 < self.top_p <= 1.0, "top_p", "in (0, 1]", self.top_p)
        _require(self.top_k >= 0, "top_k", "0 (disable), or at least 1", self.top_k)
        _require(0.0 <= self.min_p <= 1.0, "min_p", "in [0, 1]", self.min_p)
        _require(self.max_tokens is None or self.max_tokens >= 1, "max_tokens", "at least 1", self.max_tokens)
        _require(self.min_tokens >= 0, "min_tokens", "greater than or equal to 0", self.min_tokens)
        _require(self.max_tokens is None or self.min_tokens <= self.max_tokens, "min_tokens",
                 f"less than or equal to max_tokens={self.max_tokens}", self.min_tokens)
        _require(self.logprobs is None or self.logprobs >= -1, "logprobs", "non-negative or -1", self.logprobs)
        _require(self.prompt_logprobs is None or self.prompt_logprobs >= -1, "prompt_logprobs", "non-negative or -1", self.prompt_logprobs)
        _require(self.truncate_prompt_tokens is None or self.truncate_prompt_tokens == -1 or self.truncate_prompt_tokens >= 1,
                 "truncate_prompt_tokens", "an integer >= 1 or -1", self.truncate_prompt_tokens)
        _require(all(_is_int(token) for token in self.stop_token_ids or []), "stop_token_ids", "a list of integers", self.stop_token_ids)
        if "" in (self.stop or []):
            raise ValueError("stop cannot contain an empty string.")
        if self.stop and not self.detokenize:
            raise ValueError("stop strings are only supported when detokenize is True. Set detokenize=True to use stop.")

    @staticmethod
    def from_optional(**values: Any) -> "SamplingParams":
        """As the constructor; None stands for the default."""
        return SamplingParams(**{name: value for name, value in values.items() if value is not None})

    def clone(self) -> "SamplingParams":
        return copy.deepcopy(self)


@dataclass
class BeamSearchParams:
    """As in vLLM; early_stopping is ours, as in Hugging Face generate: False, True or "never"."""
    beam_width: int
    max_tokens: int
    ignore_eos: bool = False
    temperature: float = 0.0
    length_penalty: float = 1.0
    include_stop_str_in_output: bool = False
    early_stopping: Union[bool, str] = False

    def __post_init__(self) -> None:
        _require(self.beam_width >= 1, "beam_width", "at least 1", self.beam_width)
        _require(self.max_tokens >= 1, "max_tokens", "at least 1", self.max_tokens)
        _require(self.temperature == 0, "temperature", "0 with beam search", self.temperature)
        _require(self.early_stopping in (True, False, "never"), "early_stopping", "True, False or 'never'", self.early_stopping)


GuidedDecodingParams = StructuredOutputsParams
