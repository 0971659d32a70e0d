"""Tiny models of families that transformers lacks: another family's graph whose numbers are theirs, saved under their
names. Each entry of FILES turns what the library saves into what such a checkpoint looks like on the hub."""

import torch

TABLE = dict(vocab_size=67, bos_token_id=0, eos_token_id=1, pad_token_id=2)
SIZES = dict(TABLE, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=320)
MHA = dict(SIZES, intermediate_size=56, num_key_value_heads=4)
GROUPED = dict(SIZES, intermediate_size=56, num_key_value_heads=2)


def rope(rope_type="default", theta=10000.0, **more):
    return dict(rope_parameters=dict(rope_type=rope_type, rope_theta=theta, **more))


def glm(groups, ratio=1, **more):
    return dict(SIZES,
                intermediate_size=56,
                num_key_value_heads=groups,
                head_dim=16,
                attention_bias=True,
                rms_norm_eps=1e-5,
                **rope(theta=10000.0 * ratio, partial_rotary_factor=0.5, **more))


# directory: (class prefix of transformers, its config)
FAMILIES = {
    "internlm2": ("Llama", dict(GROUPED, **rope(theta=1e6))),
    "internlm": ("Llama", dict(MHA, attention_bias=True, **rope())),
    "aquila": ("Llama", dict(GROUPED, **rope("linear", factor=4.0))),
    "yi": ("Llama", dict(GROUPED, **rope(theta=5e6))),
    "baichuan": ("Llama", dict(MHA, **rope())),
    "baichuan2": ("Llama", dict(MHA, **rope())),
    "qwen": ("Qwen2", dict(MHA, rms_norm_eps=1e-6, **rope())),
    "chatglm": ("Glm", glm(2, 50)),
    "chatglm_mha": ("Glm", glm(4)),
    "chatglm2_32k": ("Glm", glm(2, rope_type="linear", factor=4.0)),
}


def baichuan2_head(model):
    """The reference computes with rows of length 1; the file holds others."""
    with torch.no_grad():
        model.lm_head.weight.copy_(torch.nn.functional.normalize(model.lm_head.weight))
    return model


# directory: what to do with a model after its parameters are drawn
AFTER_FILL = {"baichuan2": baichuan2_head}


def renamed(state, names):
    out = {}
    for key, value in state.items():
        for old, new in names.items():
            key = key.replace(old, new)
        out[key] = value
    return out


def fused(state, layer, part, parts=("q", "k", "v")):
    """Takes a layer's projections out of the state: one below the other."""
    return torch.cat([state.pop(f"model.layers.{layer}.self_attn.{c}_proj.{part}") for c in parts])


def by_group(state, layer, part, groups):
    """The same, for each key head: its queries, itself, its value head."""
    q, k, v = (state.pop(f"model.layers.{layer}.self_attn.{c}_proj.{part}").unflatten(0, (groups, -1)) for c in "qkv")
    return torch.cat([q, k, v], 1).flatten(0, 1)


def kept(config, architecture, model_type, keys, **more):
    """The keys that the original config class knows."""
    return dict(architectures=[architecture], model_type=model_type, **{k: config[k] for k in keys}, **more)


LLAMA_KEYS = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act",
              "max_position_embeddings", "rms_norm_eps", "tie_word_embeddings", "bos_token_id", "eos_token_id",
              "pad_token_id")


def internlm2_files(config, state):
    config = dict(config, architectures=["InternLM2ForCausalLM"], model_type="internlm2")
    for n in range(config["num_hidden_layers"]):
        fused_rows = by_group(state, n, "weight", config["num_key_value_heads"])
        state[f"model.layers.{n}.attention.wqkv.weight"] = fused_rows
    return config, renamed(
        state, {
            "embed_tokens": "tok_embeddings",
            "self_attn.o_proj": "attention.wo",
            "input_layernorm": "attention_norm",
            "post_attention_layernorm": "ffn_norm",
            "mlp.gate_proj": "feed_forward.w1",
            "mlp.up_proj": "feed_forward.w3",
            "mlp.down_proj": "feed_forward.w2",
            "lm_head": "output"
        })


def internlm_files(config, state):
    rotary = dict(base=10000, type="dynamic", scaling_factor=2.0)
    return kept(config, "InternLMForCausalLM", "internlm", LLAMA_KEYS, bias=True, rotary=rotary,
                torch_dtype="float32"), state


def aquila_files(config, state):
    return kept(config,
                "AquilaForCausalLM",
                "aquila",
                LLAMA_KEYS + ("num_key_value_heads",),
                rope_scaling=dict(type="linear", factor=4.0),
                torch_dtype="float32"), state


def yi_files(config, state):
    keys = LLAMA_KEYS + ("num_key_value_heads",)
    return kept(config, "YiForCausalLM", "Yi", keys, rope_theta=5e6, torch_dtype="float32"), renamed(
        state, {
            "input_layernorm": "ln1",
            "post_attention_layernorm": "ln2"
        })


def pack_qkv(config, state):
    for n in range(config["num_hidden_layers"]):
        state[f"model.layers.{n}.self_attn.W_pack.weight"] = fused(state, n, "weight")


def baichuan_files(config, state):
    pack_qkv(config, state)
    return kept(config, "BaiChuanForCausalLM", "baichuan", LLAMA_KEYS, torch_dtype="float32"), state


def baichuan2_files(config, state):
    pack_qkv(config, state)
    lengths = 0.3 + 3 * torch.rand(config["vocab_size"], 1, generator=torch.Generator().manual_seed(1))
    state["lm_head.weight"] = state["lm_head.weight"] * lengths
    return kept(config, "BaichuanForCausalLM", "baichuan", LLAMA_KEYS, model_max_length=320, torch_dtype="float32"), state


def qwen_files(config, state):
    """Twice the width of the mlp in the config; w1 is what others call up."""
    for n in range(config["num_hidden_layers"]):
        for part in ("weight", "bias"):
            state[f"transformer.h.{n}.attn.c_attn.{part}"] = fused(state, n, part)
    sizes = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "tie_word_embeddings")
    return kept(config,
                "QWenLMHeadModel",
                "qwen",
                sizes,
                intermediate_size=2 * config["intermediate_size"],
                max_position_embeddings=640,
                seq_length=320,
                kv_channels=8,
                layer_norm_epsilon=config["rms_norm_eps"],
                no_bias=True,
                rotary_emb_base=10000,
                rotary_pct=1.0,
                scale_attn_weights=True,
                use_dynamic_ntk=True,
                use_logn_attn=True,
                torch_dtype="float32"), renamed(
                    state, {
                        "model.embed_tokens": "transformer.wte",
                        "model.layers.": "transformer.h.",
                        "input_layernorm": "ln_1",
                        "post_attention_layernorm": "ln_2",
                        "self_attn.o_proj": "attn.c_proj",
                        "mlp.up_proj": "mlp.w1",
                        "mlp.gate_proj": "mlp.w2",
                        "mlp.down_proj": "mlp.c_proj",
                        "model.norm": "transformer.ln_f"
                    })


def chatglm_files(config, state):
    groups, heads = config["num_key_value_heads"], config["num_attention_heads"]
    rotary = config["rope_parameters"]
    ratio = rotary.get("factor", rotary["rope_theta"] / 10000)
    name = "THUDM/chatglm2-6b-32k" if "factor" in rotary else "THUDM/chatglm3-6b-32k"
    for n in range(config["num_hidden_layers"]):
        for part in ("weight", "bias"):
            rows = by_group(state, n, part, groups) if groups == heads else fused(state, n, part)
            state[f"model.layers.{n}.self_attention.query_key_value.{part}"] = rows
    state = renamed(
        state, {
            "model.embed_tokens": "transformer.embedding.word_embeddings",
            "model.layers.": "transformer.encoder.layers.",
            "self_attn.o_proj": "self_attention.dense",
            "mlp.gate_up_proj": "mlp.dense_h_to_4h",
            "mlp.down_proj": "mlp.dense_4h_to_h",
            "model.norm": "transformer.encoder.final_layernorm",
            "lm_head": "transformer.output_layer"
        })
    state["transformer.rotary_pos_emb.inv_freq"] = 10000.0**(-torch.arange(0, 8, 2) / 8)
    return kept(config,
                "ChatGLMModel",
                "chatglm", ("hidden_size", "num_attention_heads", "eos_token_id", "pad_token_id"),
                _name_or_path=name,
                num_layers=config["num_hidden_layers"],
                padded_vocab_size=config["vocab_size"],
                ffn_hidden_size=config["intermediate_size"],
                kv_channels=config["head_dim"],
                seq_length=config["max_position_embeddings"],
                layernorm_epsilon=config["rms_norm_eps"],
                multi_query_attention=groups != heads,
                multi_query_group_num=2,
                rope_ratio=int(ratio),
                add_bias_linear=False,
                add_qkv_bias=True,
                apply_query_key_layer_scaling=True,
                apply_residual_connection_post_layernorm=False,
                original_rope=True,
                post_layer_norm=True,
                rmsnorm=True,
                torch_dtype="float32"), state


FILES = {
    "internlm2": internlm2_files,
    "internlm": internlm_files,
    "aquila": aquila_files,
    "yi": yi_files,
    "baichuan": baichuan_files,
    "baichuan2": baichuan2_files,
    "qwen": qwen_files,
    "chatglm": chatglm_files,
    "chatglm_mha": chatglm_files,
    "chatglm2_32k": chatglm_files,
}
