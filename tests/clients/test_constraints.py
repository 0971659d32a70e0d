"""Constrained output as public clients ask for it. A coordinator that was built without a grammar engine refuses all of it by name."""
import json

import openai
import pydantic
import pytest
from langchain_openai import ChatOpenAI

CHAT = [{"role": "user", "content": "How is Rome?"}]
TOOLS = [{"type": "function", "function": {"name": name, "parameters": {
    "type": "object", "properties": {"sunny": {"type": "boolean"}}, "required": ["sunny"], "additionalProperties": False}}}
    for name in ("weather", "news")]


class Weather(pydantic.BaseModel):
    """Whether the sun shines."""
    sunny: bool
    kind: bool


@pytest.fixture(scope="module", autouse=True)
def served(client):
    try:
        client.completions.create(model="demo", prompt="x", max_tokens=1, extra_body={"guided_choice": ["a"]})
    except openai.BadRequestError as refused:
        assert refused.param == "guided_choice"
        pytest.skip("this coordinator has no grammar engine")


def test_choices_and_expressions(client):
    def complete(**extra):
        return client.completions.create(model="demo", prompt="Rome is", max_tokens=40, seed=1, extra_body=extra).choices[0].text
    assert complete(guided_choice=["red", "green"]) in ("red", "green")
    assert complete(structured_outputs={"choice": ["yes", "no"]}) in ("yes", "no")
    assert complete(structured_outputs={"regex": "[a-c]{3}x"})[3:] == "x"


def test_schema_of_openai(client):
    answer = client.chat.completions.parse(model="demo", messages=CHAT, max_tokens=200, seed=1, response_format=Weather)
    assert isinstance(answer.choices[0].message.parsed, Weather)
    with client.chat.completions.stream(model="demo", messages=CHAT, max_tokens=200, seed=2, response_format=Weather) as stream:
        assert isinstance(stream.get_final_completion().choices[0].message.parsed, Weather)


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_by_name(client, stream):
    asked = {"model": "demo", "messages": CHAT, "max_tokens": 100, "seed": 3, "tools": TOOLS,
             "tool_choice": {"type": "function", "function": {"name": "news"}}}
    if stream:
        with client.chat.completions.stream(**asked) as events:
            message = events.get_final_completion().choices[0].message
    else:
        message = client.chat.completions.create(**asked).choices[0].message
    assert not message.content and [c.function.name for c in message.tool_calls] == ["news"]
    assert isinstance(json.loads(message.tool_calls[0].function.arguments)["sunny"], bool)


def test_some_tool_is_required(client):
    answer = client.chat.completions.create(model="demo", messages=CHAT, max_tokens=200, seed=4, tools=TOOLS, tool_choice="required",
                                            parallel_tool_calls=False)
    assert answer.choices[0].finish_reason == "tool_calls"
    call = answer.choices[0].message.tool_calls[0].function
    assert call.name in ("weather", "news") and isinstance(json.loads(call.arguments)["sunny"], bool)


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_structured_output_of_langchain(server, method):
    chat = ChatOpenAI(model="demo", base_url=server.url, api_key="unused", seed=5, max_tokens=200, max_retries=0)
    assert isinstance(chat.with_structured_output(Weather, method=method).invoke("How is Rome?"), Weather)


def test_bad_constraints_name_their_field(client):
    for field, value in (("structured_outputs", {"regex": "(("}), ("guided_json", {"type": "no such type"})):
        with pytest.raises(openai.BadRequestError) as raised:
            client.completions.create(model="demo", prompt="x", max_tokens=3, extra_body={field: value})
        assert raised.value.param == field
