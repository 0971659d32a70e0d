"""The tiny mixtures of experts of make_goldens.py: their weights, and what makes a seed good.

Which experts a token goes to is a step function: where two experts are nearly alike for it, another order of additions may
choose the other one, and all that follows differs. So a seed is taken only where the last expert that is chosen and the
first that is not lie apart: by MARGIN everywhere, by NARROW_MARGIN on the prompt that is also run in bfloat16.
"""

import torch
import transformers

from family_cases import GATED, WIDE_HEADS, rope

MARGIN = 5e-4  # of router logits
NARROW_MARGIN = 6e-2
NARROW_LENGTH = 24
ROUTER_SCALE = 3.0

# directory: (class prefix of transformers, its config)
FAMILIES = {
    "mixtral": ("Mixtral",
                dict(GATED,
                     intermediate_size=24,
                     num_local_experts=5,
                     num_experts_per_tok=2,
                     sliding_window=None,
                     **rope(theta=1e6))),
    "qwen2_moe": ("Qwen2Moe",
                  dict(GATED,
                       num_hidden_layers=3,
                       num_experts=6,
                       num_experts_per_tok=3,
                       moe_intermediate_size=12,
                       shared_expert_intermediate_size=20,
                       mlp_only_layers=[1],
                       **rope())),
    # Heads that three and six ranks share out too.
    "qwen3_moe": ("Qwen3Moe",
                  dict(WIDE_HEADS,
                       num_attention_heads=12,
                       num_key_value_heads=1,
                       head_dim=8,
                       num_hidden_layers=2,
                       num_experts=8,
                       num_experts_per_tok=2,
                       moe_intermediate_size=12,
                       decoder_sparse_step=2,
                       norm_topk_prob=True,
                       **rope(theta=1e6))),
}


def build(name):
    prefix, fields = FAMILIES[name]
    config = getattr(transformers, prefix + "Config")(**fields)
    return getattr(transformers, prefix + "ForCausalLM")._from_config(config,
                                                                     attn_implementation="eager",
                                                                     dtype=torch.float32)


def is_router(name):
    return name.endswith("mlp.gate.weight")


def randomize(model, seed):
    """Norms near 1, biases N(0, 0.2), matrices N(0, 1/sqrt(fan in)) with routers ROUTER_SCALE as large, embeddings
    N(0, 1)."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            z = torch.randn(p.shape, generator=generator)
            if p.dim() == 1:
                p.copy_(1 + 0.3 * z if name.endswith("weight") else 0.2 * z)
            elif "embed_tokens" in name:
                p.copy_(z)
            else:
                p.copy_(z / p.shape[-1]**0.5 * (ROUTER_SCALE if is_router(name) else 1.0))
    return model.eval()


def smallest_margin(model, ids):
    """Between the last router logit that is chosen and the first that is not, over all layers and tokens."""
    margins = []

    def look(module, inputs, output):
        logits = output[0] if isinstance(output, tuple) else output
        best = torch.topk(logits.float(), module.top_k + 1, dim=-1).values
        margins.append(float((best[..., -2] - best[..., -1]).min()))

    hooks = [m.register_forward_hook(look) for n, m in model.named_modules() if is_router(n + ".weight")]
    with torch.no_grad():
        model(torch.tensor([ids]), use_cache=False)
    for hook in hooks:
        hook.remove()
    assert margins, "no router found"
    return min(margins)


def accept(model, tensors, facts):
    margin = float("inf")
    for name, ids in tensors.items():
        if name.startswith("prompt_"):
            length = name.removeprefix("prompt_")
            text = ids.tolist() + tensors.get(f"greedy_{length}", torch.tensor([])).int().tolist()
            margin = min(margin, smallest_margin(model, text))
    narrow = smallest_margin(model, tensors[f"prompt_{NARROW_LENGTH}"].tolist())
    facts["router_margin"], facts[f"router_margin_{NARROW_LENGTH}"] = f"{margin:.6f}", f"{narrow:.6f}"
    return margin > MARGIN and narrow > NARROW_MARGIN
