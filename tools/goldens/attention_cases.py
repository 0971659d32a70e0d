"""Tiny models whose attention is not plain: windows smaller than the prompts, ALiBi for a number of heads that is no
power of two, soft caps. One family, which transformers lacks, has its reference here, in plain torch."""

import json
import math
import pathlib
import types

import torch
import transformers
from safetensors.torch import save_file

TABLE = dict(vocab_size=67, bos_token_id=0, eos_token_id=1, pad_token_id=2)
SIZES = dict(TABLE, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=320)
GATED = dict(SIZES, intermediate_size=56, num_key_value_heads=2)
SMALL = dict(GATED, hidden_size=24, intermediate_size=40, head_dim=8)  # of many layers
TWELVE = dict(TABLE, hidden_size=36, num_hidden_layers=2, num_attention_heads=12)


def rope(theta=10000.0, rope_type="default", **more):
    return dict(rope_type=rope_type, rope_theta=theta, **more)


def alibi_slopes(heads):
    """As modeling_baichuan.py: the slopes of the next smaller power of two, then every second one of the next larger."""
    power = 2**int(math.log2(heads))
    slopes = [2.0**(-8.0 * (i + 1) / power) for i in range(power)]
    return slopes if power == heads else slopes + alibi_slopes(2 * power)[0::2][:heads - power]


class RmsNorm(torch.nn.Module):

    def __init__(self, size, eps):
        super().__init__()
        self.weight, self.eps = torch.nn.Parameter(torch.ones(size)), eps

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)


class BaichuanLayer(torch.nn.Module):

    def __init__(self, config):
        super().__init__()
        hidden, ffn = config.hidden_size, config.intermediate_size
        linear = lambda rows, cols: torch.nn.Linear(cols, rows, bias=False)
        self.self_attn, self.mlp = torch.nn.Module(), torch.nn.Module()
        self.self_attn.W_pack, self.self_attn.o_proj = linear(3 * hidden, hidden), linear(hidden, hidden)
        self.mlp.gate_proj, self.mlp.up_proj = linear(ffn, hidden), linear(ffn, hidden)
        self.mlp.down_proj = linear(hidden, ffn)
        self.input_layernorm = RmsNorm(hidden, config.rms_norm_eps)
        self.post_attention_layernorm = RmsNorm(hidden, config.rms_norm_eps)
        self.heads = config.num_attention_heads

    def forward(self, x, mask):
        n, hidden = x.shape
        q, k, v = (t.view(n, self.heads, -1).transpose(0, 1)
                   for t in self.self_attn.W_pack(self.input_layernorm(x)).split(hidden, -1))
        scores = q @ k.transpose(1, 2) / math.sqrt(hidden // self.heads) + mask
        x = x + self.self_attn.o_proj((scores.softmax(-1) @ v).transpose(0, 1).reshape(n, hidden))
        y = self.post_attention_layernorm(x)
        return x + self.mlp.down_proj(torch.nn.functional.silu(self.mlp.gate_proj(y)) * self.mlp.up_proj(y))


class BaichuanAlibi(torch.nn.Module):
    """Baichuan-13B: LLaMA's blocks with ALiBi in place of rope. Its "cache" is the ids before, computed again."""

    def __init__(self, **fields):
        super().__init__()
        self.config = config = types.SimpleNamespace(tie_word_embeddings=False, rms_norm_eps=1e-6, **fields)
        self.model = torch.nn.Module()
        self.model.embed_tokens = torch.nn.Embedding(config.vocab_size, config.hidden_size)
        self.model.layers = torch.nn.ModuleList(BaichuanLayer(config) for _ in range(config.num_hidden_layers))
        self.model.norm = RmsNorm(config.hidden_size, config.rms_norm_eps)
        self.lm_head = torch.nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def get_input_embeddings(self):
        return self.model.embed_tokens

    def forward(self, ids, use_cache=False, past_key_values=None):
        new = ids.shape[1]
        ids = ids if past_key_values is None else torch.cat([past_key_values, ids], 1)
        at = torch.arange(ids.shape[1])
        slopes = torch.tensor(alibi_slopes(self.config.num_attention_heads)).view(-1, 1, 1)
        mask = (slopes * (at[None, :] - at[:, None])).masked_fill(at[None, :] > at[:, None], float("-inf"))
        x = self.model.embed_tokens(ids[0])
        for layer in self.model.layers:
            x = layer(x, mask)
        return types.SimpleNamespace(logits=self.lm_head(self.model.norm(x))[None, -new:], past_key_values=ids)

    def save_pretrained(self, path):
        config = dict(vars(self.config), architectures=["BaichuanForCausalLM"], model_type="baichuan", hidden_act="silu")
        (pathlib.Path(path) / "config.json").write_text(json.dumps(config))
        save_file(self.state_dict(), pathlib.Path(path) / "model.safetensors")


def build_gemma3(**fields):
    config = transformers.Gemma3TextConfig(**fields)
    return transformers.Gemma3ForCausalLM._from_config(config, attn_implementation="eager", dtype=torch.float32)


def build_falcon(**fields):
    """Not eager: that way the library adds ALiBi twice, to the mask and to the scores."""
    config = transformers.FalconConfig(**fields)
    return transformers.FalconForCausalLM._from_config(config, attn_implementation="sdpa", dtype=torch.float32)


def build_mpt_normed(**fields):
    """qk_ln, which the library's class does not know: LayerNorms of all queries and of all keys behind their product."""
    model = transformers.MptForCausalLM(transformers.MptConfig(**fields))
    width = fields["d_model"]
    for block in model.transformer.blocks:
        attn = block.attn
        attn.q_ln, attn.k_ln = (torch.nn.LayerNorm(width, eps=1e-5, bias=False) for _ in range(2))

        def norm(module, args, out, attn=attn):
            q, k, v = out.split(width, -1)
            return torch.cat([attn.q_ln(q), attn.k_ln(k), v], -1)

        attn.Wqkv.register_forward_hook(norm)
    return model


# directory: (class prefix of transformers, or what builds the model; its config)
FAMILIES = {
    "mistral_window": ("Mistral", dict(GATED, head_dim=16, sliding_window=13, rope_parameters=rope(1e6))),
    "phi3_window": ("Phi3", dict(GATED, sliding_window=37, rope_parameters=rope(partial_rotary_factor=0.75))),
    "starcoder2_window": ("Starcoder2", dict(GATED, use_bias=True, sliding_window=16, rope_parameters=rope(1e5))),
    "qwen2_window":
        ("Qwen2",
         dict(SMALL, num_hidden_layers=3, use_sliding_window=True, sliding_window=8, max_window_layers=1,
              rope_parameters=rope(1e6))),
    "smollm3_window":
        ("SmolLM3",
         dict(SMALL, num_hidden_layers=4, no_rope_layer_interval=2, use_sliding_window=True, sliding_window=9,
              rope_parameters=rope(2e6))),
    "gemma2":
        ("Gemma2",
         dict(GATED, num_hidden_layers=3, head_dim=16, tie_word_embeddings=False, query_pre_attn_scalar=24, sliding_window=8,
              attn_logit_softcapping=2.0, final_logit_softcapping=5.0, rope_parameters=rope())),
    "gemma3":
        (build_gemma3,
         dict(SMALL, num_hidden_layers=6, query_pre_attn_scalar=24, sliding_window=8,
              rope_parameters=dict(full_attention=rope(1e6, "linear", factor=8.0), sliding_attention=rope()))),
    "cohere2": ("Cohere2", dict(SMALL, num_hidden_layers=4, sliding_window=8, logit_scale=0.7, rope_parameters=rope())),
    "bloom": ("Bloom", dict(TWELVE, tie_word_embeddings=False)),
    "bloom_post_norm": ("Bloom", dict(TWELVE, tie_word_embeddings=False, apply_residual_connection_post_layernorm=True)),
    "mpt":
        ("Mpt",
         dict(TABLE, d_model=36, n_heads=12, n_layers=2, max_seq_len=320,
              attn_config=dict(alibi=True, clip_qkv=0.5, softmax_scale=0.7))),
    "mpt_qk_norm":
        (build_mpt_normed,
         dict(TABLE, d_model=36, n_heads=12, n_layers=2, max_seq_len=320, attn_config=dict(alibi=True, qk_ln=True))),
    "falcon_rw": (build_falcon, dict(TWELVE, alibi=True, multi_query=False, parallel_attn=False, bias=True)),
    "baichuan_13b": (BaichuanAlibi, dict(TWELVE, intermediate_size=56, model_max_length=320)),
}


def gemma3_multimodal(config, state):
    """The decoder of a model that sees pictures, in the style of the hub's first files: what the class has as a default
    is left out."""
    kept = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
            "num_key_value_heads", "head_dim", "max_position_embeddings", "query_pre_attn_scalar", "sliding_window")
    text = dict({k: config[k] for k in kept}, model_type="gemma3_text",
                rope_scaling=dict(factor=8.0, rope_type="linear"))
    config = dict(architectures=["Gemma3ForConditionalGeneration"], model_type="gemma3", eos_token_id=[1, 3],
                  text_config=text, vision_config=dict(hidden_size=8, num_hidden_layers=1), torch_dtype="float32")
    state = {"language_model." + k: v for k, v in state.items()}
    state["vision_tower.vision_model.post_layernorm.weight"] = torch.ones(8)
    state["multi_modal_projector.mm_input_projection_weight"] = torch.ones(8, 24)
    return config, state


# directory: the same numbers in other files
ALSO = {"gemma3": {"gemma3_multimodal": gemma3_multimodal}}
