"""The tiny models of make_goldens.py, one or two per family: what to build and what is special in its files."""

import torch
import transformers

import attention_cases
import long_rope_cases
import remote_cases

TABLE = dict(vocab_size=67, bos_token_id=0, eos_token_id=1, pad_token_id=2)
SIZES = dict(TABLE, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=320)
GATED = dict(SIZES, intermediate_size=56, num_key_value_heads=2)
WIDE_HEADS = dict(GATED, head_dim=16)
LONG = dict(WIDE_HEADS, max_position_embeddings=4096)  # so that yarn keeps, blends and stretches some pairs each
GPT = dict(TABLE, n_positions=320, n_embd=32, n_layer=2, n_head=4)


def rope(rope_type="default", theta=10000.0, **more):
    return dict(rope_parameters=dict(rope_type=rope_type, rope_theta=theta, **more))


# directory: (class prefix of transformers, its config)
FAMILIES = {
    "mistral": ("Mistral", dict(WIDE_HEADS, sliding_window=None, **rope(theta=1e6))),
    "qwen2": ("Qwen2", dict(GATED, tie_word_embeddings=True, **rope(theta=1e6))),
    "qwen3": ("Qwen3", dict(WIDE_HEADS, **rope(theta=1e6))),
    "gemma": ("Gemma", dict(WIDE_HEADS, num_key_value_heads=1, tie_word_embeddings=False, **rope())),
    "granite": ("Granite",
                dict(GATED,
                     embedding_multiplier=3.0,
                     residual_multiplier=0.5,
                     attention_multiplier=0.2,
                     logits_scaling=0.7,
                     **rope())),
    "smollm3": ("SmolLM3", dict(GATED, num_hidden_layers=4, no_rope_layer_interval=2, **rope(theta=2e6))),
    "olmo2": ("Olmo2", dict(GATED, attention_bias=True, **rope(theta=5e5))),
    "olmo2_one_kv": ("Olmo2", dict(GATED, num_key_value_heads=1, **rope())),
    "phi3": ("Phi3", dict(GATED, sliding_window=None, **rope(partial_rotary_factor=0.75))),
    "glm": ("Glm", dict(WIDE_HEADS, attention_bias=True, **rope(partial_rotary_factor=0.5))),
    "glm4": ("Glm4", dict(WIDE_HEADS, attention_bias=True, **rope(partial_rotary_factor=0.5))),
    "cohere": ("Cohere", dict(GATED, logit_scale=0.7, **rope())),
    "cohere_qk_norm": ("Cohere", dict(GATED, logit_scale=0.7, use_qk_norm=True, **rope())),
    "stablelm": ("StableLm", dict(GATED, use_qkv_bias=True, **rope(partial_rotary_factor=0.25))),
    "stablelm_parallel": ("StableLm", dict(GATED, use_parallel_residual=True, **rope(partial_rotary_factor=0.5))),
    "stablelm_qk_norm":
        ("StableLm",
         dict(GATED, use_parallel_residual=True, qk_layernorm=True, **rope(partial_rotary_factor=0.25))),
    "starcoder2": ("Starcoder2", dict(GATED, use_bias=True, tie_word_embeddings=False, sliding_window=None, **rope(theta=1e5))),
    "phi": ("Phi", dict(GATED, **rope(partial_rotary_factor=0.5))),
    "phi_qk_norm": ("Phi", dict(GATED, qk_layernorm=True, **rope(partial_rotary_factor=0.5))),
    "gptj": ("GPTJ", dict(GPT, rotary_dim=4)),
    "gpt_neox": ("GPTNeoX", dict(SIZES, intermediate_size=56, **rope(partial_rotary_factor=0.25))),
    "gpt_neox_serial":
        ("GPTNeoX",
         dict(SIZES, intermediate_size=56, use_parallel_residual=False, **rope(partial_rotary_factor=0.5))),
    "falcon_new": ("Falcon", dict(SIZES, new_decoder_architecture=True, num_kv_heads=2, bias=True, **rope())),
    "falcon_11b":
        ("Falcon",
         dict(SIZES,
              new_decoder_architecture=True,
              num_kv_heads=2,
              num_ln_in_parallel_attn=1,
              ffn_hidden_size=56,
              tie_word_embeddings=False,
              **rope(theta=5e5))),
    "falcon": ("Falcon", dict(SIZES, **rope())),
    "opt": ("OPT", dict(SIZES, ffn_dim=56, word_embed_proj_dim=32)),
    "opt_350m": ("OPT", dict(SIZES, ffn_dim=56, word_embed_proj_dim=16, do_layer_norm_before=False)),
    "opt_no_final_norm": ("OPT", dict(SIZES, ffn_dim=56, word_embed_proj_dim=32, _remove_final_layer_norm=True)),
    "opt_plain":
        ("OPT",
         dict(SIZES, ffn_dim=56, word_embed_proj_dim=32, layer_norm_elementwise_affine=False, enable_bias=False,
              activation_function="gelu")),
    "gpt_bigcode": ("GPTBigCode", dict(GPT, multi_query=True)),
    "gpt_bigcode_mha": ("GPTBigCode", dict(GPT, multi_query=False)),
    "rope_linear": ("Llama", dict(GATED, **rope("linear", factor=4.0))),
    "rope_dynamic": ("Llama", dict(GATED, **rope("dynamic", factor=4.0))),
    "rope_yarn":
        ("Llama",
         dict(LONG, **rope("yarn", factor=4.0, original_max_position_embeddings=1024))),
    **attention_cases.FAMILIES,
    **long_rope_cases.FAMILIES,
    **remote_cases.FAMILIES,
}


def build(name):
    """A model in float32 with the library's weights."""
    prefix, fields = FAMILIES[name]
    if callable(prefix):
        return prefix(**fields)
    config = getattr(transformers, prefix + "Config")(**fields)
    return getattr(transformers, prefix + "ForCausalLM")._from_config(config,
                                                                     attn_implementation="eager",
                                                                     dtype=torch.float32)


def randomize(model, seed):
    """Fills every parameter: norms near 1 (near 0 where 1 is added), biases N(0, 0.2), matrices N(0, 1/sqrt(fan in)),
    embeddings N(0, 1) unless they are the head too or are scaled up."""
    generator = torch.Generator().manual_seed(seed)
    tables = {id(model.get_input_embeddings().weight)}
    is_gemma = type(model).__name__.startswith("Gemma")
    shrink = model.config.tie_word_embeddings or is_gemma
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            z = torch.randn(p.shape, generator=generator)
            if p.dim() == 1 or "norm" in name:
                is_norm = name.endswith("weight")
                p.copy_((0 if is_gemma else 1) + 0.3 * z if is_norm else 0.2 * z)
            elif "wpe" in name or "embed_positions" in name:
                p.copy_(0.3 * z)
            elif id(p) in tables:
                p.copy_(z / p.shape[1]**0.5 if shrink else z)
            else:
                p.copy_(z / p.shape[1]**0.5)
    return model.eval()
