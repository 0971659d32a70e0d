"""Models whose positions depend on the length of a request in the code that they come with: a server decides once for all
requests, by the longest one that it serves (docs/decisions/0022 and 0024).

Phi-3 with longrope: the reference for long contexts has the long one of two lists of factors in both places. LLaMA with
"dynamic" and Qwen's first version, served up to LONGEST tokens and trained for TRAINED: the reference has the base of a
rope that such a request ends with, and Qwen's queries grow by position."""

import math

import torch
import transformers

import remote_cases

SIZES = dict(vocab_size=67,
             bos_token_id=0,
             eos_token_id=1,
             pad_token_id=2,
             hidden_size=32,
             num_hidden_layers=2,
             num_attention_heads=4,
             num_key_value_heads=2,
             intermediate_size=56,
             max_position_embeddings=320,
             sliding_window=None)
SHORT, LONG, ORIGINAL = [1.0, 1.2, 1.7], [1.5, 2.0, 3.5], 32


def config(short, long, original, **more):
    return dict(SIZES,
                original_max_position_embeddings=original,
                rope_parameters=dict(rope_type="longrope",
                                     rope_theta=10000.0,
                                     partial_rotary_factor=0.75,
                                     short_factor=short,
                                     long_factor=long,
                                     original_max_position_embeddings=original,
                                     **more))


TRAINED, LONGEST, FACTOR = 64, 320, 3.0


def grown(base, growth, dims):
    return base * growth**(dims / (dims - 2))


def build_qwen(**fields):
    """Queries at position p, counted from 1, times log(p) / log(TRAINED) beyond TRAINED."""
    model = transformers.Qwen2ForCausalLM._from_config(transformers.Qwen2Config(**fields),
                                                       attn_implementation="eager",
                                                       dtype=torch.float32)
    growth = torch.tensor([max(1.0, math.log(p, TRAINED)) for p in range(1, LONGEST + 1)])
    seen = {}
    model.model.rotary_emb.register_forward_pre_hook(lambda module, args, kwargs: seen.update(
        at=kwargs["position_ids"] if "position_ids" in kwargs else args[1]),
                                                     with_kwargs=True)
    for layer in model.model.layers:
        layer.self_attn.q_proj.register_forward_hook(lambda module, args, out: out * growth[seen["at"]][..., None])
    return model


# directory: (class prefix of transformers, its config)
FAMILIES = {
    "phi3_longrope": ("Phi3", config(LONG, LONG, ORIGINAL)),
    "phi3_longrope_short": ("Phi3", config(SHORT, LONG, 320, attention_factor=1.3)),
    "rope_dynamic_beyond":
        ("Llama",
         dict(remote_cases.GROUPED, **remote_cases.rope(theta=grown(10000.0, FACTOR * LONGEST / TRAINED - (FACTOR - 1), 8)))),
    "qwen_beyond":
        (build_qwen,
         dict(remote_cases.MHA,
              rms_norm_eps=1e-6,
              **remote_cases.rope(theta=grown(10000.0, 2**math.ceil(math.log2(LONGEST / TRAINED) + 1) - 1, 8)))),
}


def long_files(config, state):
    config["rope_parameters"]["short_factor"] = SHORT
    return config, state


def short_files(config, state):
    """As older files spell it."""
    rope = config.pop("rope_parameters")
    scaling = dict(type="su", short_factor=SHORT, long_factor=LONG, attention_factor=rope["attention_factor"])
    return dict(config, rope_theta=10000.0, partial_rotary_factor=0.75, rope_scaling=scaling), state


def dynamic_files(config, state):
    config["rope_parameters"] = dict(rope_type="dynamic", rope_theta=10000.0, factor=FACTOR)
    return dict(config, max_position_embeddings=TRAINED), state


def qwen_files(config, state):
    config, state = remote_cases.qwen_files(config, state)
    return dict(config, seq_length=TRAINED), state


FILES = {
    "phi3_longrope": long_files,
    "phi3_longrope_short": short_files,
    "rope_dynamic_beyond": dynamic_files,
    "qwen_beyond": qwen_files
}


def short_logits(model, tensors):
    """What the library computes for a request that stays short, with the lists that the file has."""
    short = transformers.Phi3ForCausalLM._from_config(transformers.Phi3Config(**config(SHORT, LONG, ORIGINAL)),
                                                      attn_implementation="eager",
                                                      dtype=torch.float32).eval()
    short.load_state_dict(model.state_dict())
    with torch.no_grad():
        logits = short(tensors["prompt_24"][None].long(), use_cache=False).logits[0].float()
    assert (logits - tensors["logits_24"]).abs().max() > 0.01, "the lists do not show"
    tensors["short_logits_24"] = logits.contiguous()


def longest_served(model, tensors):
    tensors["max_model_len"] = torch.tensor([LONGEST], dtype=torch.int32)


def check_dynamic(model, tensors):
    """A request of LONGEST tokens gives the same numbers with the library's own "dynamic"."""
    rope = dict(rope_type="dynamic", rope_theta=10000.0, factor=FACTOR)
    fields = dict(remote_cases.GROUPED, max_position_embeddings=TRAINED, rope_parameters=rope)
    dynamic = transformers.LlamaForCausalLM._from_config(transformers.LlamaConfig(**fields),
                                                         attn_implementation="eager",
                                                         dtype=torch.float32).eval()
    dynamic.load_state_dict(model.state_dict())
    ids = torch.randint(0, fields["vocab_size"], (1, LONGEST), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        difference = (dynamic(ids, use_cache=False).logits - model(ids, use_cache=False).logits).abs().max()
    assert difference < 1e-5, f"the library's own scaling differs by {difference}"
    longest_served(model, tensors)


EXTRA = {"phi3_longrope": short_logits, "rope_dynamic_beyond": check_dynamic, "qwen_beyond": longest_served}
