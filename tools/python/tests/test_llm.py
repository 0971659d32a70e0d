"""LLM against the real coordinator on the demo model, two ranks."""
import pytest
from conftest import eventually

from quire import BeamSearchParams, InvalidRequestError, NotServedError, QuireError, SamplingParams, StructuredOutputsParams, TokensPrompt
from quire._jobs import request_seed

GREEDY = SamplingParams(temperature=0, max_tokens=12)


def test_order_is_kept_and_each_prompt_has_its_own_params(llm):
    prompts = [f"There were {i} little dogs" for i in range(40)]
    params = [SamplingParams(temperature=0, max_tokens=1 + i % 7, ignore_eos=True) for i in range(40)]
    outputs = llm.generate(prompts, params, use_tqdm=False)
    assert [o.prompt for o in outputs] == prompts
    assert [len(o.outputs[0].token_ids) for o in outputs] == [1 + i % 7 for i in range(40)]
    assert len({o.request_id for o in outputs}) == 40
    alone = llm.generate(prompts[17], params[17], use_tqdm=False)
    assert alone[0].outputs[0].token_ids == outputs[17].outputs[0].token_ids


def test_an_output_has_what_vllm_gives(llm):
    output = llm.generate("Once upon a time", SamplingParams(temperature=0, max_tokens=4, logprobs=2, prompt_logprobs=1), use_tqdm=False)[0]
    tokenizer = llm.get_tokenizer()
    assert output.finished and output.prompt == "Once upon a time"
    assert output.prompt_token_ids == tokenizer.encode("Once upon a time")
    choice = output.outputs[0]
    assert (choice.index, choice.finish_reason, choice.stop_reason) == (0, "length", None)
    assert choice.text == tokenizer.decode(choice.token_ids) and not choice.text.startswith("Once")
    assert len(choice.logprobs) == 4 and all(len(position) == 2 for position in choice.logprobs)
    for token, position in zip(choice.token_ids, choice.logprobs):
        assert position[token].rank == 1 and next(iter(position)) == token
    assert choice.cumulative_logprob == pytest.approx(sum(p[t].logprob for p, t in zip(choice.logprobs, choice.token_ids)), abs=1e-4)
    assert output.prompt_logprobs[0] is None and len(output.prompt_logprobs) == len(output.prompt_token_ids)
    for token, position in list(zip(output.prompt_token_ids, output.prompt_logprobs))[1:]:
        assert token in position
    assert output.metrics.arrival_time <= output.metrics.finished_time
    assert repr(output).startswith("RequestOutput(request_id='") and "outputs=[CompletionOutput(index=0, text=' there" in repr(output)


def test_prompts_by_ids(llm):
    ids = llm.get_tokenizer().encode("Once upon a time")
    by_text = llm.generate("Once upon a time", GREEDY, use_tqdm=False)[0]
    for prompt in (TokensPrompt(prompt_token_ids=ids), ids, {"prompt": "Once upon a time"}):
        output = llm.generate([prompt], GREEDY, use_tqdm=False)[0]
        assert output.prompt_token_ids == ids
        assert output.outputs == by_text.outputs
    assert llm.generate(TokensPrompt(prompt_token_ids=ids), GREEDY, use_tqdm=False)[0].prompt is None


def test_choices(llm):
    outputs = llm.generate("Once upon a time", SamplingParams(n=3, seed=5, max_tokens=10), use_tqdm=False)[0].outputs
    assert [c.index for c in outputs] == [0, 1, 2] and len({c.text for c in outputs}) > 1
    best = llm.generate("Once upon a time", SamplingParams(n=1, best_of=6, seed=5, max_tokens=10), use_tqdm=False)[0].outputs
    assert len(best) == 1 and best[0].cumulative_logprob is not None


def test_stops(llm):
    whole = llm.generate("Once upon a time", SamplingParams(temperature=0, max_tokens=40), use_tqdm=False)[0].outputs[0]
    stop = whole.text[17:23]
    cut = llm.generate("Once upon a time", SamplingParams(temperature=0, max_tokens=40, stop=stop), use_tqdm=False)[0].outputs[0]
    assert (cut.finish_reason, cut.stop_reason) == ("stop", stop) and cut.text == whole.text[:whole.text.index(stop)]
    token = whole.token_ids[5]
    cut = llm.generate("Once upon a time", SamplingParams(temperature=0, max_tokens=40, stop_token_ids=[token]), use_tqdm=False)[0].outputs[0]
    assert (cut.finish_reason, cut.stop_reason) == ("stop", token)
    eos = llm.get_tokenizer().eos_token_id
    end = llm.generate("x", SamplingParams(temperature=1, max_tokens=9, logit_bias={eos: 100}), use_tqdm=False)[0].outputs[0]
    assert (end.finish_reason, end.stop_reason) == ("stop", None)


def test_truncated_prompts_and_ids_without_text(llm):
    output = llm.generate("Once upon a time there was a dog", SamplingParams(temperature=0, max_tokens=3, truncate_prompt_tokens=4), use_tqdm=False)[0]
    assert len(output.prompt_token_ids) == 4
    assert output.outputs[0].text == llm.get_tokenizer().decode(output.outputs[0].token_ids)
    output = llm.generate("Once upon a time", SamplingParams(temperature=0, max_tokens=3, detokenize=False), use_tqdm=False)[0]
    assert output.outputs[0].text == "" and len(output.outputs[0].token_ids) == 3


def test_a_seed_of_the_llm_makes_requests_repeatable(llm):
    params = SamplingParams(max_tokens=8)
    first, second = (llm.generate("Once upon a time", params, use_tqdm=False)[0] for _ in range(2))
    assert first.outputs[0].seed == request_seed(1, int(first.request_id))
    assert second.outputs[0].seed == request_seed(1, int(second.request_id)) != first.outputs[0].seed


def test_beam_search(llm):
    found = llm.beam_search([{"prompt": "Once upon a time"}, "The little dog"], BeamSearchParams(beam_width=3, max_tokens=6))
    assert len(found) == 2
    for output, prompt in zip(found, ("Once upon a time", "The little dog")):
        assert len(output.sequences) == 3
        scores = [s.cum_logprob / len(s.logprobs) for s in output.sequences]
        assert scores == sorted(scores, reverse=True)
        assert all(prompt in s.text and s.tokens[:len(s.tokens) - len(s.logprobs)] == llm.get_tokenizer().encode(prompt) for s in output.sequences)


def test_chat(chat_llm):
    conversation = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": [{"type": "text", "text": "Who"}, {"type": "text", "text": "are you?"}]}]
    output = chat_llm.chat(conversation, GREEDY, use_tqdm=False)[0]
    assert output.prompt == "system: Be kind.\nuser: Who\nare you?\nassistant:"
    assert output.outputs[0].text == chat_llm.get_tokenizer().decode(output.outputs[0].token_ids, skip_special_tokens=True) != ""
    tokenizer = chat_llm.get_tokenizer()
    assert tokenizer.apply_chat_template(conversation, add_generation_prompt=True, tokenize=False) == output.prompt
    assert tokenizer.apply_chat_template(conversation, add_generation_prompt=True) == output.prompt_token_ids
    assert tokenizer.apply_chat_template(conversation, tokenize=False).endswith("are you?\n")
    many = chat_llm.chat([conversation, conversation[1:]], GREEDY, use_tqdm=False, tools=[{"type": "function", "function": {"name": "f"}}],
                         add_generation_prompt=False)
    assert many[0].prompt == "system: Be kind.\nuser: Who\nare you?\n1 tools\n" and many[1].prompt == "user: Who\nare you?\n1 tools\n"
    with pytest.raises(ValueError, match="image_url"):
        chat_llm.chat([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}], GREEDY)
    with pytest.raises(ValueError, match="chat_template is not served"):
        chat_llm.chat(conversation, GREEDY, chat_template="{{ messages }}")


def test_default_sampling_params_are_the_models(llm):
    params = llm.get_default_sampling_params()
    assert (params.temperature, params.top_p, params.max_tokens) == (0.8, 0.95, 16)
    assert len(llm.generate("Once upon a time", use_tqdm=False)[0].outputs[0].token_ids) <= 16


def test_errors_carry_code_and_field(llm):
    with pytest.raises(InvalidRequestError) as caught:
        llm.generate(["fine", "bad"], [GREEDY, SamplingParams(temperature=3)], use_tqdm=False)
    assert (caught.value.code, caught.value.field) == ("INVALID_ARGUMENT", "sampling_params.temperature")
    assert "got 3" in str(caught.value) and "[prompt 1 of 2]" in str(caught.value) and isinstance(caught.value, ValueError)
    with pytest.raises(InvalidRequestError) as caught:
        llm.generate([[1 << 31]], GREEDY, use_tqdm=False)
    assert caught.value.field == "tokenized.input_ids"
    with pytest.raises(InvalidRequestError, match="max_tokens|context"):
        llm.generate("x", SamplingParams(max_tokens=1 << 20), use_tqdm=False)
    with pytest.raises(QuireError):
        llm.chat([{"role": "user", "content": "x"}], GREEDY, use_tqdm=False)  # no template


def test_wrong_calls(llm):
    with pytest.raises(ValueError, match="must be the same"):
        llm.generate(["a", "b"], [GREEDY], use_tqdm=False)
    with pytest.raises(TypeError, match="SamplingParams"):
        llm.generate(["a"], [{"temperature": 1}], use_tqdm=False)
    with pytest.raises(TypeError):
        llm.generate([3.5], GREEDY, use_tqdm=False)
    with pytest.raises(ValueError, match="multi_modal_data"):
        llm.generate({"prompt": "a", "multi_modal_data": {}}, GREEDY, use_tqdm=False)
    with pytest.raises(ValueError, match="lora_request is not served"):
        llm.generate("a", GREEDY, use_tqdm=False, lora_request=object())
    assert llm.generate([], GREEDY) == []


def test_constraints_are_served_or_refused_by_name(llm):
    try:
        output = llm.generate("x", SamplingParams(max_tokens=4, structured_outputs=StructuredOutputsParams(choice=["yes", "no"])), use_tqdm=False)[0]
        assert output.outputs[0].text in ("yes", "no")
    except NotServedError as error:
        assert error.field == "sampling_params.choice"


def test_a_failure_ends_the_rest(llm):
    long = SamplingParams(max_tokens=900, ignore_eos=True, temperature=0)
    with pytest.raises(InvalidRequestError):
        llm.generate(["Once"] * 8 + ["bad"], [long] * 8 + [SamplingParams(temperature=3)], use_tqdm=False)
    assert eventually(lambda: llm.get_loads().num_running_reqs + llm.get_loads().num_waiting_reqs == 0)


def test_progress_is_told(llm, capsys, monkeypatch):
    llm.generate(["a", "b"], GREEDY, use_tqdm=True)
    told = capsys.readouterr().err
    assert "Processed prompts: 100%" in told and "toks/s" in told
    monkeypatch.setitem(__import__("sys").modules, "tqdm.auto", None)  # not installed
    llm.generate(["a", "b"], GREEDY, use_tqdm=True)
    own = capsys.readouterr().err
    assert own.startswith("Processed prompts: 100%|####################| 2/2 [00:0") and "output:" in own
    llm.generate(["a", "b"], GREEDY, use_tqdm=False)
    assert capsys.readouterr().err == ""
