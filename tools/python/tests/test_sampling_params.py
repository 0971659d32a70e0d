"""SamplingParams: vLLM's defaults and rules; every field of the proto reaches the wire or is listed here with the reason why not."""
import pytest

from quire import BeamSearchParams, SamplingParams, StructuredOutputsParams
from quire._defaults import default_sampling_params
from quire._proto import generate_pb2 as pb
from quire._requests import beam_search_params, sampling_params


def test_defaults_are_those_of_vllm():
    assert repr(SamplingParams()) == (
        "SamplingParams(n=1, presence_penalty=0.0, frequency_penalty=0.0, repetition_penalty=1.0, temperature=1.0, top_p=1.0, top_k=0, "
        "min_p=0.0, seed=None, stop=[], stop_token_ids=[], bad_words=[], include_stop_str_in_output=False, ignore_eos=False, max_tokens=16, "
        "min_tokens=0, logprobs=None, prompt_logprobs=None, skip_special_tokens=True, spaces_between_special_tokens=True, "
        "truncate_prompt_tokens=None, structured_outputs=None, extra_args=None)")


@pytest.mark.parametrize("name, value, message", [
    ("n", 0, "n must be at least 1, got 0."),
    ("presence_penalty", 2.5, "presence_penalty must be in [-2, 2], got 2.5."),
    ("frequency_penalty", -3, "frequency_penalty must be in [-2, 2], got -3."),
    ("repetition_penalty", 0.0, "repetition_penalty must be greater than zero, got 0.0."),
    ("temperature", -0.5, "temperature must be non-negative, got -0.5."),
    ("temperature", float("nan"), "temperature must be non-negative, got nan."),
    ("top_p", 0.0, "top_p must be in (0, 1], got 0.0."),
    ("top_p", 1.5, "top_p must be in (0, 1], got 1.5."),
    ("top_k", -2, "top_k must be 0 (disable), or at least 1, got -2."),
    ("min_p", 1.1, "min_p must be in [0, 1], got 1.1."),
    ("max_tokens", 0, "max_tokens must be at least 1, got 0."),
    ("min_tokens", -1, "min_tokens must be greater than or equal to 0, got -1."),
    ("min_tokens", 17, "min_tokens must be less than or equal to max_tokens=16, got 17."),
    ("logprobs", -2, "logprobs must be non-negative or -1, got -2."),
    ("prompt_logprobs", -2, "prompt_logprobs must be non-negative or -1, got -2."),
    ("truncate_prompt_tokens", 0, "truncate_prompt_tokens must be an integer >= 1 or -1, got 0."),
    ("stop", [""], "stop cannot contain an empty string."),
    ("best_of", 0, "best_of must be at least n=1, got 0."),
])
def test_a_bad_value_is_refused_by_name(name, value, message):
    with pytest.raises(ValueError) as caught:
        SamplingParams(**{name: value})
    assert str(caught.value) == message


def test_types_are_checked():
    with pytest.raises(TypeError):
        SamplingParams(n=1.5)
    with pytest.raises(ValueError):
        SamplingParams(stop="x", detokenize=False)
    with pytest.raises(TypeError):
        SamplingParams(no_such_name=1)


def test_greedy_needs_one_choice_and_forgets_the_rest():
    with pytest.raises(ValueError, match="n must be 1 when using greedy sampling, got 2"):
        SamplingParams(temperature=0, n=2)
    params = SamplingParams(temperature=1e-6, top_p=0.5, top_k=3, min_p=0.1)
    assert (params.temperature, params.top_p, params.top_k, params.min_p) == (0.0, 1.0, 0, 0.0)
    assert SamplingParams(temperature=0.001).temperature == 0.01
    assert SamplingParams(top_k=-1).top_k == 0 and SamplingParams(seed=-1).seed is None and SamplingParams(stop="a").stop == ["a"]


def test_from_optional_and_clone():
    assert SamplingParams.from_optional(n=None, top_p=0.5) == SamplingParams(top_p=0.5)
    original = SamplingParams(stop=["a"])
    copied = original.clone()
    copied.stop.append("b")
    assert original.stop == ["a"]


def test_every_field_of_the_proto_is_set():
    """A field that is added to the proto fails here until SamplingParams has it."""
    message = pb.SamplingParams()
    sampling_params(SamplingParams(
        n=2, best_of=3, presence_penalty=0.5, frequency_penalty=0.25, repetition_penalty=1.5, temperature=0.75, top_p=0.5, top_k=7, min_p=0.125,
        seed=9, stop=["x"], stop_token_ids=[4], bad_words=["w"], include_stop_str_in_output=True, ignore_eos=True, max_tokens=30, min_tokens=2,
        logprobs=3, prompt_logprobs=1, detokenize=True, skip_special_tokens=False, spaces_between_special_tokens=False,
        truncate_prompt_tokens=5, logit_bias={6: 1.5}, allowed_token_ids=[1, 2]), message)
    beams = pb.SamplingParams()
    beam_search_params(BeamSearchParams(beam_width=4, max_tokens=8, length_penalty=0.5, early_stopping="never"), beams)
    constraint = {field.name for field in pb.SamplingParams.DESCRIPTOR.oneofs_by_name["constraint"].fields}
    unset = {f.name for f in pb.SamplingParams.DESCRIPTOR.fields} - {f.name for f, _ in message.ListFields()} - {
        f.name for f, _ in beams.ListFields()} - constraint
    assert unset == set()
    assert (beams.n, beams.beam_width, beams.early_stopping) == (4, 4, "never")
    assert dict(message.logit_bias) == {6: 1.5} and message.temperature == 0.75 and message.best_of == 3


def test_every_constraint_has_a_form():
    forms = {"json_schema": dict(json={"type": "object"}), "regex": dict(regex="a+"), "grammar": dict(grammar="root ::= 'a'"),
             "structural_tag": dict(structural_tag="{}"), "json_object": dict(json_object=True), "choice": dict(choice=["a", "b"])}
    assert set(forms) == {field.name for field in pb.SamplingParams.DESCRIPTOR.oneofs_by_name["constraint"].fields}
    for name, form in forms.items():
        message = pb.SamplingParams()
        sampling_params(SamplingParams(structured_outputs=StructuredOutputsParams(**form)), message)
        assert message.WhichOneof("constraint") == name
    with pytest.raises(ValueError, match="exactly one"):
        StructuredOutputsParams(regex="a", grammar="b")


def test_what_protobuf_refuses_is_named():
    with pytest.raises((TypeError, ValueError), match="seed"):
        sampling_params(SamplingParams(seed=1 << 70), pb.SamplingParams())


@pytest.mark.parametrize("text, expected", [
    ("", SamplingParams()),
    ("not json", SamplingParams()),
    ('{"temperature": 0.6, "top_k": 20, "max_new_tokens": 9, "bos_token_id": 1}', SamplingParams(temperature=0.6, top_k=20, max_tokens=9)),
    ('{"temperature": -1, "top_p": 0.9}', SamplingParams(top_p=0.9)),
    ('{"repetition_penalty": 1.1, "min_p": null}', SamplingParams(repetition_penalty=1.1)),
])
def test_defaults_of_a_model(text, expected):
    assert default_sampling_params(text) == expected


def test_beam_search_params():
    for bad in (dict(beam_width=0, max_tokens=1), dict(beam_width=1, max_tokens=0), dict(beam_width=1, max_tokens=1, temperature=0.5),
                dict(beam_width=1, max_tokens=1, early_stopping="x")):
        with pytest.raises(ValueError):
            BeamSearchParams(**bad)
