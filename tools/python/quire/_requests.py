"""Python values -> GenerateRequest. Pure: no RPC here."""
from __future__ import annotations

import json
from typing import Any, Dict, List, Mapping, Optional, Sequence

from quire._proto import generate_pb2 as pb
from quire.inputs import PromptType, as_prompt_dict
from quire.sampling_params import BeamSearchParams, SamplingParams, StructuredOutputsParams

Message = Mapping[str, Any]  # of a conversation, as OpenAI's API has them

# Both names of a field are the same; unset fields of SamplingParams are None.
_PLAIN = ("temperature", "top_p", "top_k", "min_p", "frequency_penalty", "presence_penalty", "repetition_penalty", "max_tokens", "min_tokens",
          "skip_special_tokens", "spaces_between_special_tokens", "ignore_eos", "n", "logprobs", "prompt_logprobs", "seed",
          "include_stop_str_in_output", "truncate_prompt_tokens", "best_of", "detokenize")
_REPEATED = ("stop", "stop_token_ids", "bad_words", "allowed_token_ids")


def _set(message: Any, name: str, value: Any) -> None:
    """Assigns a field; what protobuf finds wrong is said with the field's name."""
    try:
        setattr(message, name, value)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from None


def _set_constraint(form: StructuredOutputsParams, out: pb.SamplingParams) -> None:
    if form.json is not None:
        out.json_schema = form.json if isinstance(form.json, str) else json.dumps(form.json)
    elif form.choice is not None:
        out.choice.choices.extend(form.choice)
    else:
        for name in ("regex", "grammar", "structural_tag", "json_object"):
            if getattr(form, name) not in (None, False):
                setattr(out, name, getattr(form, name))


def sampling_params(params: SamplingParams, out: pb.SamplingParams) -> None:
    """Every field goes over, so that the model's own defaults never mix with what the caller sees in `params`."""
    for name in _PLAIN:
        value = getattr(params, name)
        if value is not None:
            _set(out, name, value)
    for name in _REPEATED:
        getattr(out, name).extend(getattr(params, name) or [])
    for token, bias in (params.logit_bias or {}).items():
        out.logit_bias[int(token)] = bias
    if params.structured_outputs is not None:
        _set_constraint(params.structured_outputs, out)


def beam_search_params(params: BeamSearchParams, out: pb.SamplingParams) -> None:
    out.use_beam_search = True
    out.beam_width = out.n = params.beam_width
    out.max_tokens = params.max_tokens
    out.ignore_eos = params.ignore_eos
    out.length_penalty = params.length_penalty
    out.early_stopping = str(params.early_stopping).lower()
    out.include_stop_str_in_output = params.include_stop_str_in_output
    out.logprobs = min(2 * params.beam_width, 20)
    out.skip_special_tokens = True


def set_prompt(prompt: PromptType, out: pb.GenerateRequest) -> None:
    fields: Dict[str, Any] = dict(as_prompt_dict(prompt))
    ids: Optional[List[int]] = fields.get("prompt_token_ids")
    if ids is None:
        _set(out, "text", fields["prompt"])
        return
    out.tokenized.input_ids.extend(ids)
    out.tokenized.SetInParent()  # an empty list is refused by the server, in its own words
    if fields.get("prompt") is not None:
        out.tokenized.original_text = fields["prompt"]


def _content(content: Any) -> str:
    """Text of a message: a str, or parts {"type": "text", "text": ...} that become lines."""
    if isinstance(content, str):
        return content
    texts = []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif part.get("type", "text") in ("text", "input_text", "output_text"):
            texts.append(part["text"])
        else:
            raise ValueError(f"messages with parts of type {part.get('type')!r} are not served, only text")
    return "\n".join(texts)


def _add_message(message: Message, out: pb.ChatInput) -> None:
    to = out.messages.add()
    for name in ("role", "name", "tool_call_id"):
        if message.get(name) is not None:
            _set(to, name, message[name])
    if message.get("content") is not None:
        to.content = _content(message["content"])
    reasoning = message.get("reasoning_content", message.get("reasoning"))
    if reasoning is not None:
        to.reasoning_content = reasoning
    for call in message.get("tool_calls") or []:
        arguments = call["function"].get("arguments", "{}")
        to.tool_calls.add(id=call.get("id", ""), name=call["function"]["name"],
                          arguments=arguments if isinstance(arguments, str) else json.dumps(arguments))


def set_chat(messages: Sequence[Message], out: pb.ChatInput, *, add_generation_prompt: bool = True,
             tools: Optional[Sequence[Mapping[str, Any]]] = None, chat_template_kwargs: Optional[Mapping[str, Any]] = None) -> None:
    out.SetInParent()
    for message in messages:
        _add_message(message, out)
    if tools:
        out.tools = json.dumps(list(tools))
    if not add_generation_prompt:
        out.add_generation_prompt = False
    if chat_template_kwargs:
        out.chat_template_kwargs = json.dumps(dict(chat_template_kwargs))
