"""LangChain's OpenAI classes, as they are, against the server."""
import asyncio
import json

import openai
import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAI

from chat_model import END_TOKEN, TOOL_TOKEN


@pytest.fixture(scope="module")
def chat(server):
    return ChatOpenAI(model="demo", base_url=server.url, api_key="unused", temperature=0, max_tokens=12, max_retries=0)


@pytest.fixture(scope="module")
def complete(server):
    return OpenAI(model="demo", base_url=server.url, api_key="unused", temperature=0, max_tokens=12, max_retries=0)


def test_completions(complete):
    text = complete.invoke("Once upon a time")
    assert text and "".join(complete.stream("Once upon a time")) == text
    assert complete.batch(["Once upon a time", "The dog"])[0] == text
    result = complete.generate(["Once upon a time", "The dog"])
    assert [g[0].text for g in result.generations][0] == text and result.llm_output["token_usage"]["completion_tokens"] == 24
    assert asyncio.run(complete.ainvoke("Once upon a time")) == text


def test_chat(chat):
    answer = chat.invoke([SystemMessage("Be brief."), HumanMessage("Tell me a story.")])
    assert isinstance(answer, AIMessage) and answer.content
    assert answer.response_metadata["finish_reason"] in ("stop", "length") and 0 < answer.usage_metadata["output_tokens"] <= 12
    assert answer.usage_metadata["total_tokens"] == answer.usage_metadata["input_tokens"] + answer.usage_metadata["output_tokens"]


def test_chat_streams(chat):
    whole = chat.invoke("Tell me a story.")
    chunks = list(chat.stream("Tell me a story.", stream_usage=True))
    total = chunks[0]
    for chunk in chunks[1:]:
        total += chunk
    assert total.content == whole.content and total.usage_metadata["output_tokens"] == whole.usage_metadata["output_tokens"]

    async def collect():
        return "".join([chunk.content async for chunk in chat.astream("Tell me a story.")])
    assert asyncio.run(collect()) == whole.content


def test_logprobs_and_stop(chat):
    answer = chat.bind(logprobs=True, top_logprobs=2).invoke("Tell me a story.")
    tokens = [t["token"] for t in answer.response_metadata["logprobs"]["content"]]
    assert "".join(tokens) == answer.content
    stopped = chat.invoke("Tell me a story.", stop=[tokens[3]])
    assert stopped.content == answer.content[:answer.content.index(tokens[3])] and stopped.response_metadata["finish_reason"] == "stop"


def test_tools(chat):
    @tool
    def weather(city: str, days: int) -> str:
        """Weather of a city."""
        return f"{city}: sun for {days} days"
    calls = {"allowed_token_ids": [TOOL_TOKEN, END_TOKEN], "min_tokens": 1, "logit_bias": {str(END_TOKEN): 100}}
    bound = chat.bind_tools([weather]).bind(extra_body=calls)
    answer = bound.invoke("How is Rome?")
    assert [(c["name"], c["args"]) for c in answer.tool_calls] == [("weather", {"city": "Rome", "days": 2})]
    streamed = None
    for chunk in bound.stream("How is Rome?"):
        streamed = chunk if streamed is None else streamed + chunk
    assert [(c["name"], c["args"]) for c in streamed.tool_calls] == [("weather", {"city": "Rome", "days": 2})]
    result = weather.invoke(answer.tool_calls[0])
    assert isinstance(result, ToolMessage) and json.dumps(result.content)
    assert chat.bind_tools([weather]).invoke([HumanMessage("How is Rome?"), answer, result]).content


def test_errors(chat, server):
    with pytest.raises(openai.BadRequestError):
        chat.bind(top_p=9).invoke("x")
    with pytest.raises(openai.NotFoundError):
        ChatOpenAI(model="nobody", base_url=server.url, api_key="unused", max_retries=0).invoke("x")
