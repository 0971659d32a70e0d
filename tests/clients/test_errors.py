"""Errors of the server as the package openai raises them."""
import openai
import pytest

from conftest import Server, make_key

PROMPT = "Once upon a time"
CHAT = [{"role": "user", "content": "Hi"}]

REFUSED = [
    ("temperature", {"temperature": 3}),
    ("temperature", {"temperature": "hot"}),
    ("top_p", {"top_p": 0}),
    ("n", {"n": 0}),
    ("n", {"n": 100_000}),
    ("max_tokens", {"max_tokens": -1}),
    ("max_tokens", {"max_tokens": 5000}),
    ("stop", {"stop": [""]}),
    ("logit_bias", {"logit_bias": {"99999": 1}}),
    ("seed", {"seed": 1.5}),
    ("presence_penalty", {"presence_penalty": -3}),
    ("response_format.type", {"response_format": {"type": "xml"}}),
    ("tool_choice", {"tool_choice": "required"}),
    ("tool_choice", {"tool_choice": {"type": "function", "function": {"name": "nobody"}}}),
    ("chat_template", {"extra_body": {"chat_template": "{{ messages }}"}}),
    ("cache_salt", {"extra_body": {"cache_salt": "s"}}),
    ("logits_processors", {"extra_body": {"logits_processors": ["x"]}}),
    ("messages[0].content[0].type", {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]}),
    ("stream_options", {"stream_options": {"include_usage": True}}),
]


@pytest.mark.parametrize("param, fields", REFUSED)
def test_bad_requests_name_the_field(client, param, fields):
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(**{"model": "demo", "messages": CHAT, **fields})
    assert raised.value.param == param and raised.value.type == "invalid_request_error" and raised.value.status_code == 400
    assert set(raised.value.body) == {"message", "type", "param", "code"} and raised.value.body["message"].startswith(param)


@pytest.mark.parametrize("stream", [False, True])
def test_errors_before_a_stream_are_no_stream(client, stream):
    with pytest.raises(openai.BadRequestError) as raised:
        client.completions.create(model="demo", prompt=PROMPT, top_p=7, stream=stream)
    assert raised.value.param == "top_p"


def test_names_are_those_that_the_client_used(client):
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(model="demo", messages=CHAT, max_completion_tokens=0)
    assert raised.value.param == "max_completion_tokens"
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(model="demo", messages=[*CHAT, {"role": "no such role!", "content": "x"}])
    assert raised.value.param == "messages[1].role"
    with pytest.raises(openai.BadRequestError) as raised:
        client.completions.create(model="demo", prompt=["fine", ""])
    assert raised.value.param == "prompt[1]"


def test_context_length(client):
    with pytest.raises(openai.BadRequestError) as raised:
        client.completions.create(model="demo", prompt=[5] * 2000)
    assert raised.value.code == "context_length_exceeded" and "2000" in raised.value.message
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(model="demo", messages=CHAT, max_tokens=1024)
    assert raised.value.code == "context_length_exceeded"


def test_unknown_model(client):
    with pytest.raises(openai.NotFoundError) as raised:
        client.completions.create(model="gpt-4", prompt=PROMPT)
    assert raised.value.code == "model_not_found" and raised.value.param == "model"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-4")


def test_unknown_route(client):
    with pytest.raises(openai.NotFoundError) as raised:
        client.embeddings.create(model="demo", input="x", encoding_format="float")
    assert raised.value.body["type"] == "invalid_request_error"


def test_bytes_that_are_no_json(client):
    response = client._client.post(f"{client.base_url}completions", content=b'{"prompt": "a', headers={"content-type": "application/json"})
    assert response.status_code == 400 and "not valid JSON at byte" in response.json()["error"]["message"]


def test_keys(tmp_path, model):
    """Who has no key, a wrong one or a used-up limit; each raises its class."""
    good, good_line = make_key("acme")
    small, small_line = make_key("small", max_live_requests=1, max_choices=1)
    other, _ = make_key("acme")
    keys = tmp_path / "keys"
    keys.write_text(f"{good_line}\n{small_line}\n")
    keys.chmod(0o600)
    server = Server(tmp_path, model, f"--api_key_file={keys}")
    try:
        def of(key):
            return openai.OpenAI(base_url=server.url, api_key=key, max_retries=0, timeout=60)
        assert of(good).completions.create(model="demo", prompt=PROMPT, max_tokens=1).choices
        for wrong in ("nonsense", other):
            with pytest.raises(openai.AuthenticationError) as raised:
                of(wrong).completions.create(model="demo", prompt=PROMPT)
            assert raised.value.code == "invalid_api_key" and raised.value.status_code == 401
            assert wrong not in str(raised.value)
        with pytest.raises(openai.BadRequestError) as raised:
            of(small).completions.create(model="demo", prompt=PROMPT, n=2)
        assert raised.value.param == "n"
        limited = of(small)
        held = limited.completions.create(model="demo", prompt=PROMPT, max_tokens=900, stream=True, extra_body={"ignore_eos": True})
        next(iter(held))
        with pytest.raises(openai.RateLimitError) as raised:
            limited.completions.create(model="demo", prompt=PROMPT)
        assert raised.value.code == "rate_limit_exceeded" and int(raised.value.response.headers["retry-after"]) >= 1
        held.close()
        # The client's own retries get through once the stream is gone.
        again = limited.with_options(max_retries=8).completions.create(model="demo", prompt=PROMPT, max_tokens=1)
        assert again.usage.completion_tokens == 1
    finally:
        server.stop()
