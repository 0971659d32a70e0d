"""GenerateResponse messages -> RequestOutput. Pure: no RPC here.

Every request asks for `echo`, which is how the prompt's token ids come back; the echoed text in front of each choice is cut off again.
"""
from __future__ import annotations

import time
from typing import Any, Container, Dict, List, Optional

from quire._proto import generate_pb2 as pb
from quire.outputs import CompletionOutput, Logprob, PromptLogprobs, RequestMetrics, RequestOutput, SampleLogprobs
from quire.sampling_params import RequestOutputKind, SamplingParams


def _position(position: Any) -> Dict[int, Logprob]:
    """The token that was drawn first, then the likeliest ones."""
    found = {position.sampled.token_id: Logprob(position.sampled.logprob, None, position.sampled.token)}
    for rank, top in enumerate(position.top, 1):
        if top.token_id in found:
            found[top.token_id].rank = rank
        else:
            found[top.token_id] = Logprob(top.logprob, rank, top.token)
    return found


def sample_logprobs(logprobs: Any) -> SampleLogprobs:
    return [_position(position) for position in logprobs.positions]


def prompt_logprobs(logprobs: Any) -> PromptLogprobs:
    return [_position(p) if p.sampled.HasField("logprob") else None for p in logprobs.positions]


class Assembler:
    """Collects the responses of one request.

    prompt_text gives the text that the server echoes for these prompt ids: the caller asks the server where it is not the prompt itself.
    """

    def __init__(self, request_id: str, request: pb.GenerateRequest, params: SamplingParams, eos_token_ids: Container[int]) -> None:
        kind = request.WhichOneof("input")
        self._params = params
        self._eos = eos_token_ids
        self._echo = request.echo and params.detokenize
        # The server echoes a text as it came, unless it cut it; everything else it writes anew from the ids.
        self.echoed_text: Optional[str] = request.text if kind == "text" and params.truncate_prompt_tokens is None else None
        self._choices = [CompletionOutput(i, "", [], 0.0 if params.logprobs is not None else None, [] if params.logprobs is not None else None)
                         for i in range(params.n)]
        prompt = request.text if kind == "text" else None
        if kind == "tokenized" and request.tokenized.HasField("original_text"):
            prompt = request.tokenized.original_text
        self.output = RequestOutput(request_id, prompt, None, outputs=list(self._choices))
        self._unechoed = set(range(params.n)) if self._echo else set()
        self._ended = 0
        self._arrival = time.time()

    @property
    def finished(self) -> bool:
        return self._ended == len(self._choices)

    def needs_echoed_text(self, response: pb.GenerateResponse) -> Optional[List[int]]:
        """The prompt ids whose text the caller must put into `echoed_text` before add(response); None: nothing is missing."""
        if not self._unechoed or self.echoed_text is not None:
            return None
        ids = getattr(response, response.WhichOneof("response")).prompt_token_ids
        return list(ids) if ids else None

    def add(self, response: pb.GenerateResponse) -> CompletionOutput:
        """Takes the next response in; returns its news alone, as a choice."""
        body = getattr(response, response.WhichOneof("response"))
        choice = self._choices[body.index]
        text = body.text
        if body.prompt_token_ids:
            if self.output.prompt_token_ids is None:
                self.output.prompt_token_ids = list(body.prompt_token_ids)
            if body.index in self._unechoed:
                self._unechoed.discard(body.index)
                text = text[len(self.echoed_text or ""):]
        if body.HasField("input_logprobs"):
            self.output.prompt_logprobs = prompt_logprobs(body.input_logprobs)
        self.output.num_cached_tokens = body.cached_tokens
        complete = response.HasField("complete")
        ids = list(body.output_ids)[len(choice.token_ids):] if complete else list(body.token_ids)
        news = CompletionOutput(body.index, text, ids)
        if choice.logprobs is not None and body.HasField("output_logprobs"):
            news.logprobs = sample_logprobs(body.output_logprobs)
            choice.logprobs.extend(news.logprobs)
            choice.cumulative_logprob = (choice.cumulative_logprob or 0.0) + sum(p[t].logprob for p, t in zip(news.logprobs, ids))
            news.cumulative_logprob = choice.cumulative_logprob
        choice.text += text
        choice.token_ids.extend(ids)
        if complete:
            self._end(body, choice)
            news.finish_reason, news.stop_reason, news.seed = choice.finish_reason, choice.stop_reason, choice.seed
        return news

    def _end(self, body: pb.GenerateResponse.Complete, choice: CompletionOutput) -> None:
        choice.finish_reason = body.finish_reason
        choice.seed = body.seed
        if body.HasField("cumulative_logprob"):
            choice.cumulative_logprob = body.cumulative_logprob
        if body.HasField("matched_stop_str"):
            choice.stop_reason = body.matched_stop_str
        elif body.HasField("matched_stop_token_id"):
            token = body.matched_stop_token_id
            asked = token in (self._params.stop_token_ids or [])
            choice.stop_reason = token if asked or token not in self._eos else None
        self._ended += 1
        if not self.finished:
            return
        self.output.finished = True
        self.output.metrics = self._metrics(body.timing)

    def abort(self) -> CompletionOutput:
        """Ends what has not ended; returns the first such choice, without news."""
        aborted = [choice for choice in self._choices if choice.finish_reason is None]
        for choice in aborted:
            choice.finish_reason = "abort"
        self._ended = len(self._choices)
        self.output.finished = True
        return CompletionOutput(aborted[0].index if aborted else 0, "", [], finish_reason="abort")

    def _metrics(self, timing: pb.Timing) -> RequestMetrics:
        """The server tells durations; they are laid backwards from the moment the answer was here."""
        now = time.time()
        first = now - timing.decode_seconds
        scheduled = first - timing.prefill_seconds
        return RequestMetrics(self._arrival, now, scheduled, first, timing.queue_seconds, now)


def view(assembler: Assembler, news: CompletionOutput, kind: RequestOutputKind) -> RequestOutput:
    """What a streaming call yields after one response: a copy that later responses do not change."""
    whole = assembler.output
    out = RequestOutput(whole.request_id, whole.prompt, whole.prompt_token_ids, whole.prompt_logprobs, finished=whole.finished,
                        metrics=whole.metrics, num_cached_tokens=whole.num_cached_tokens)
    if kind == RequestOutputKind.DELTA:
        out.outputs = [news]
    else:
        out.outputs = [CompletionOutput(c.index, c.text, list(c.token_ids), c.cumulative_logprob, None if c.logprobs is None else list(c.logprobs),
                                        c.finish_reason, c.stop_reason, c.seed) for c in whole.outputs]
    return out
