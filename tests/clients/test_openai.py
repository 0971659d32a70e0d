"""The package openai, as it is, against the server: both endpoints, streaming and not."""
import json
import re

import pytest

from chat_model import END_TOKEN, TOOL_TOKEN

PROMPT = "Once upon a time"
CHAT = [{"role": "user", "content": "Tell me a story."}]


def test_models(client):
    listed = client.models.list().data
    assert [m.id for m in listed] == ["demo"]
    assert client.models.retrieve("demo").id == "demo"
    assert listed[0].created > 1_700_000_000 and listed[0].max_model_len == 1024


def test_completion(client):
    answer = client.completions.create(model="demo", prompt=PROMPT, temperature=0)
    assert re.fullmatch(r"cmpl-[\w.:-]+", answer.id) and answer.object == "text_completion" and answer.model == "demo"
    assert len(answer.choices) == 1 and answer.choices[0].text and answer.choices[0].index == 0
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 16  # OpenAI's default
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 16
    assert answer.usage.prompt_tokens_details.cached_tokens <= answer.usage.prompt_tokens


def test_completion_streams_the_same_text(client):
    whole = client.completions.create(model="demo", prompt=PROMPT, temperature=0, max_tokens=40)
    events = list(client.completions.create(model="demo", prompt=PROMPT, temperature=0, max_tokens=40, stream=True))
    assert "".join(e.choices[0].text for e in events) == whole.choices[0].text
    assert [e.choices[0].finish_reason for e in events if e.choices[0].finish_reason] == ["length"]
    assert len({e.id for e in events}) == 1 and all(e.usage is None for e in events)


def test_a_batch_of_prompts_with_choices(client):
    prompts = ["Once", "One day, Anna", "The dog"]
    answer = client.completions.create(model="demo", prompt=prompts, n=2, seed=5, max_tokens=5)
    assert [c.index for c in answer.choices] == list(range(6))
    assert answer.usage.completion_tokens == sum(5 for _ in range(6))
    one = client.completions.create(model="demo", prompt=prompts[2], n=2, seed=5, max_tokens=5)
    assert [c.text for c in one.choices] == [c.text for c in answer.choices[4:]]
    texts = [""] * 6
    for event in client.completions.create(model="demo", prompt=prompts, n=2, seed=5, max_tokens=5, stream=True):
        texts[event.choices[0].index] += event.choices[0].text
    assert texts == [c.text for c in answer.choices]


def test_token_ids_as_prompts(client):
    ids = client.post("../tokenize", cast_to=object, body={"prompt": PROMPT})["tokens"]
    text = client.completions.create(model="demo", prompt=PROMPT, temperature=0).choices[0].text
    assert client.completions.create(model="demo", prompt=ids, temperature=0).choices[0].text == text
    assert [c.text for c in client.completions.create(model="demo", prompt=[ids, ids], temperature=0).choices] == [text, text]


def test_chat(client):
    answer = client.chat.completions.create(model="demo", messages=CHAT, max_completion_tokens=12, temperature=0)
    assert re.fullmatch(r"chatcmpl-[\w.:-]+", answer.id) and answer.object == "chat.completion"
    choice = answer.choices[0]
    assert choice.message.role == "assistant" and choice.message.content and choice.finish_reason == "length"
    assert choice.message.tool_calls is None and choice.logprobs is None
    assert answer.usage.completion_tokens == 12


def test_chat_streams_the_same_text(client):
    asked = {"model": "demo", "messages": CHAT, "max_tokens": 30, "temperature": 0}
    whole = client.chat.completions.create(**asked)
    events = list(client.chat.completions.create(**asked, stream=True))
    assert events[0].choices[0].delta.role == "assistant" and events[0].choices[0].delta.content == ""
    assert "".join(e.choices[0].delta.content or "" for e in events) == whole.choices[0].message.content
    assert events[-1].choices[0].finish_reason == whole.choices[0].finish_reason and events[-1].choices[0].delta.content is None
    assert all(e.object == "chat.completion.chunk" for e in events)


def test_choices_of_a_chat_stream(client):
    asked = {"model": "demo", "messages": CHAT, "max_tokens": 8, "n": 3, "seed": 11}
    whole = [c.message.content for c in client.chat.completions.create(**asked).choices]
    assert len(set(whole)) > 1
    texts, ends = [""] * 3, []
    for event in client.chat.completions.create(**asked, stream=True):
        choice = event.choices[0]
        texts[choice.index] += choice.delta.content or ""
        ends += [choice.index] if choice.finish_reason else []
    assert texts == whole and sorted(ends) == [0, 1, 2]


def test_the_helper_that_accumulates_a_stream(client):
    with client.chat.completions.stream(model="demo", messages=CHAT, stop=["."], max_tokens=500, seed=1) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.content and final.choices[0].finish_reason == "stop"


def test_seed(client):
    def draw(seed):
        return client.completions.create(model="demo", prompt=PROMPT, seed=seed, temperature=1, max_tokens=20).choices[0].text
    assert draw(1) == draw(1) != draw(2)


@pytest.mark.parametrize("stream", [False, True])
def test_stop(client, stream):
    text = client.completions.create(model="demo", prompt=PROMPT, temperature=0, max_tokens=40).choices[0].text
    stop = text[10:14]
    answer = client.completions.create(model="demo", prompt=PROMPT, temperature=0, max_tokens=40, stop=[stop, "\x00never"], stream=stream)
    choices = [e.choices[0] for e in answer] if stream else answer.choices
    assert "".join(c.text for c in choices) == text[:text.index(stop)]
    assert choices[-1].finish_reason == "stop" and choices[-1].stop_reason == stop


def test_logprobs_of_completions(client):
    answer = client.completions.create(model="demo", prompt=PROMPT, temperature=0, max_tokens=6, logprobs=3)
    logprobs = answer.choices[0].logprobs
    assert "".join(logprobs.tokens) == answer.choices[0].text
    assert [answer.choices[0].text[o:o + len(t)] for o, t in zip(logprobs.text_offset, logprobs.tokens)] == logprobs.tokens
    for token, value, top in zip(logprobs.tokens, logprobs.token_logprobs, logprobs.top_logprobs):
        assert value <= 0 and top[token] == value == max(top.values()) and 3 <= len(top) <= 4


def test_echo_scores_the_prompt(client):
    answer = client.completions.create(model="demo", prompt=PROMPT, temperature=0, max_tokens=1, logprobs=1, echo=True)
    logprobs = answer.choices[0].logprobs
    assert answer.choices[0].text.startswith(PROMPT)
    assert len(logprobs.tokens) == answer.usage.total_tokens == len(logprobs.text_offset)
    assert logprobs.token_logprobs[0] is None and all(v <= 0 for v in logprobs.token_logprobs[1:])
    streamed = list(client.completions.create(model="demo", prompt=PROMPT, temperature=0, max_tokens=1, logprobs=1, echo=True, stream=True))
    assert "".join(e.choices[0].text for e in streamed) == answer.choices[0].text
    tokens = [t for e in streamed if e.choices[0].logprobs for t in e.choices[0].logprobs.tokens]
    assert tokens == logprobs.tokens


@pytest.mark.parametrize("stream", [False, True])
def test_logprobs_of_chats(client, stream):
    answer = client.chat.completions.create(model="demo", messages=CHAT, temperature=0, max_tokens=5, logprobs=True, top_logprobs=2,
                                            stream=stream)
    choices = [e.choices[0] for e in answer] if stream else answer.choices
    content = [t for c in choices if c.logprobs for t in c.logprobs.content]
    text = "".join(c.delta.content or "" for c in choices) if stream else choices[0].message.content
    assert len(content) == 5 and "".join(t.token for t in content) == text
    for token in content:
        assert token.top_logprobs[0].token == token.token and len(token.top_logprobs) == 2
        assert bytes(token.bytes).decode() == token.token


def test_usage_of_a_stream_is_in_its_last_event_alone(client):
    """What vLLM's `bench serve` and guidellm count tokens by: the event whose choices are empty."""
    events = list(client.chat.completions.create(model="demo", messages=CHAT, max_tokens=9, stream=True,
                                                 stream_options={"include_usage": True}))
    assert all(e.usage is None and len(e.choices) == 1 for e in events[:-1])
    assert events[-1].choices == [] and events[-1].usage.completion_tokens == 9
    every = list(client.completions.create(model="demo", prompt=PROMPT, max_tokens=4, stream=True,
                                           stream_options={"include_usage": True}, extra_body={"stream_options": {
                                               "include_usage": True, "continuous_usage_stats": True}}))
    assert [e.usage.completion_tokens for e in every] == sorted(e.usage.completion_tokens for e in every)
    assert every[-1].usage.completion_tokens == 4


def test_raw_lines_of_a_stream(client):
    with client.completions.with_streaming_response.create(model="demo", prompt=PROMPT, max_tokens=3, stream=True) as raw:
        assert raw.headers["content-type"].startswith("text/event-stream")
        assert raw.headers["cache-control"] == "no-cache" and raw.headers["x-accel-buffering"] == "no"
        lines = list(raw.iter_lines())
    events = [line for line in lines if line and not line.startswith(":")]
    assert all(line.startswith("data: ") for line in events) and events[-1] == "data: [DONE]"
    for line in events[:-1]:
        json.loads(line[6:])


def test_fields_of_vllm(client):
    extra = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "ignore_eos": True, "min_tokens": 2, "stop_token_ids": [END_TOKEN],
             "skip_special_tokens": True, "include_stop_str_in_output": False, "priority": 0, "truncate_prompt_tokens": 4}
    answer = client.completions.create(model="demo", prompt=PROMPT * 4, temperature=0, max_tokens=3, extra_body=extra)
    assert answer.usage.prompt_tokens == 4
    only = client.completions.create(model="demo", prompt=PROMPT, max_tokens=3, extra_body={"allowed_token_ids": [70]})
    seventy = client.post("../detokenize", cast_to=object, body={"tokens": [70]})["prompt"]
    assert only.choices[0].text == seventy * 3
    named = client.completions.create(model="demo", prompt=PROMPT, max_tokens=1, extra_body={"request_id": "my-request"})
    assert named.id == "cmpl-my-request"
    scored = client.chat.completions.create(model="demo", messages=CHAT, max_tokens=1, extra_body={"prompt_logprobs": 1})
    assert scored.prompt_logprobs[0] is None and len(scored.prompt_logprobs) == scored.usage.prompt_tokens
    ids = client.completions.create(model="demo", prompt=PROMPT, max_tokens=2, logprobs=0, extra_body={"return_tokens_as_token_ids": True})
    assert all(re.fullmatch(r"token_id:\d+", t) for t in ids.choices[0].logprobs.tokens)


def test_beam_search_and_best_of(client):
    beams = client.completions.create(model="demo", prompt=PROMPT, n=2, max_tokens=5, extra_body={"use_beam_search": True})
    assert len({c.text for c in beams.choices}) == 2
    best = client.completions.create(model="demo", prompt=PROMPT, n=1, best_of=3, max_tokens=5, seed=3)
    assert len(best.choices) == 1


def test_logit_bias(client):
    answer = client.completions.create(model="demo", prompt=PROMPT, max_tokens=4, temperature=0, logit_bias={"70": 100})
    assert answer.choices[0].text == client.post("../detokenize", cast_to=object, body={"tokens": [70] * 4})["prompt"]


def test_messages_of_every_kind(client):
    messages = [{"role": "system", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
                {"role": "assistant", "content": None,
                 "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}]},
                {"role": "tool", "tool_call_id": "c1", "content": "sunny"}]
    answer = client.chat.completions.create(model="demo", messages=messages, max_tokens=2)
    shown = client.post("../tokenize", cast_to=object, body={"messages": messages})
    assert answer.usage.prompt_tokens == shown["count"] == len(shown["tokens"])
    text = client.post("../detokenize", cast_to=object, body={"tokens": shown["tokens"]})["prompt"]
    assert text == "system: Be brief.\nuser: one\ntwo\nassistant: None\ntool: sunny\nassistant:"


TOOLS = [{"type": "function", "function": {"name": "weather", "description": "of a city", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city"]}}}]
# One token that is a call, then the end: of the two allowed tokens the end is the likelier, and not allowed to come first.
CALL = {"allowed_token_ids": [TOOL_TOKEN, END_TOKEN], "min_tokens": 1, "logit_bias": {str(END_TOKEN): 100}}


def test_tools_are_in_the_prompt_and_calls_in_the_answer(client):
    asked = {"model": "demo", "messages": CHAT, "temperature": 0, "max_tokens": 5, "extra_body": CALL}
    plain = client.chat.completions.create(**asked)
    assert plain.choices[0].message.content.startswith("<tool_call>") and plain.choices[0].finish_reason == "stop"
    answer = client.chat.completions.create(**asked, tools=TOOLS)
    assert answer.usage.prompt_tokens > plain.usage.prompt_tokens
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls" and choice.message.content is None
    call = choice.message.tool_calls[0]
    assert call.id and call.type == "function" and call.function.name == "weather"
    assert json.loads(call.function.arguments) == {"city": "Rome", "days": 2}
    with client.chat.completions.stream(**asked, tools=TOOLS) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.tool_calls[0].function.name == "weather"
    assert json.loads(final.choices[0].message.tool_calls[0].function.arguments) == {"city": "Rome", "days": 2}
    unwanted = client.chat.completions.create(**asked, tools=TOOLS, tool_choice="none")
    assert unwanted.choices[0].message.tool_calls is None


def test_what_has_no_effect_is_accepted(client):
    client.chat.completions.create(model="demo", messages=CHAT, max_tokens=1, user="u", store=True, metadata={"a": "b"}, service_tier="auto",
                                   response_format={"type": "text"}, extra_body={"nobody_knows": {"this": 1}})


