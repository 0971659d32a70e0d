"""Phi-3 with longrope. The library chooses between two lists of factors by the length of a request, a server does once for
all requests (docs/decisions/0022): the reference for long contexts has the long list in both places."""

import torch
import transformers

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


# directory: (class prefix of transformers, its config)
FAMILIES = {
    "phi3_longrope": ("Phi3", config(LONG, LONG, ORIGINAL)),
    "phi3_longrope_short": ("Phi3", config(SHORT, LONG, 320, attention_factor=1.3)),
}


def long_files(config, state):
    config["rope_parameters"]["short_factor"] = SHORT
    return config, state


def short_files(config, state):
    """As older files spell it."""
    rope = config.pop("rope_parameters")
    scaling = dict(type="su", short_factor=SHORT, long_factor=LONG, attention_factor=rope["attention_factor"])
    return dict(config, rope_theta=10000.0, partial_rotary_factor=0.75, rope_scaling=scaling), state


FILES = {"phi3_longrope": long_files, "phi3_longrope_short": short_files}


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


EXTRA = {"phi3_longrope": short_logits}
