#!/usr/bin/env python3
"""Writes tests/goldens/checkpoints/quantized (matrices in every format) and .../quantized_* (a tiny model in each).

usage: make_quantized_goldens.py [--out=DIR] [--only=experts]

Of each: config.json, model.safetensors; the matrices also dense.safetensors, what they stand for in float32; the models golden.safetensors,
the logits that transformers gives for the model with those floats. Models with experts have those floats beside them, as the checkpoint dense/.
"""
import argparse
import json
import pathlib
import shutil

import numpy as np
import torch
import transformers
from safetensors.torch import save_file

import quantized_formats as formats

ROOT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "goldens" / "checkpoints"


def group(bits=8, kind="int", strategy="channel", **more):
    weights = dict(num_bits=bits, type=kind, strategy=strategy, symmetric=True, **more)
    return {"group_0": {"targets": ["Linear"], "weights": weights, "input_activations": None}}


def compressed(form, **weights):
    return dict(quant_method="compressed-tensors", format=form, config_groups=group(**weights), ignore=["lm_head"],
                quantization_status="compressed", kv_cache_scheme=None)


def gptq_config(bits, v2, group_size=32):
    return dict(quant_method="gptq", bits=bits, group_size=group_size, desc_act=True, sym=False,
                checkpoint_format="gptq_v2" if v2 else "gptq", dynamic={"-:lm_head": {}})


AWQ = dict(quant_method="awq", bits=4, group_size=32, zero_point=True, version="GEMM")
FP8 = dict(quant_method="fp8", fmt="e4m3", activation_scheme="dynamic")
BNB4 = dict(quant_method="bitsandbytes", load_in_4bit=True, _load_in_8bit=False, bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True, bnb_4bit_quant_storage="uint8")
BNB8 = dict(quant_method="bitsandbytes", load_in_8bit=True, llm_int8_threshold=6.0)


def matrix_cases():
    """name: (quantization_config, {module: (function, its options, [out, in])})."""
    cases = {}
    for bits in (2, 3, 4, 8):
        for v2 in (False, True):
            cases[f"gptq_{bits}{'_v2' if v2 else ''}"] = (gptq_config(bits, v2), {
                name: (formats.gptq, dict(bits=bits, v2=v2, **options), (32, 64))
                for name, options in (("plain", dict(g_idx="absent")), ("act", dict(g_idx="act")), ("sym", dict(sym=True)))
            })
    cases["gptq_whole"] = (gptq_config(4, False, -1), {"m": (formats.gptq, dict(group_size=-1), (40, 64))})
    cases["awq"] = (AWQ, {"m": (formats.awq, {}, (40, 96)), "wide": (formats.awq, {}, (72, 32))})
    cases["awq_gemv"] = (dict(AWQ, version="gemv"), {"m": (formats.awq, dict(gemv=True), (16, 320))})
    for bits in (3, 4, 8):
        ct = compressed("pack-quantized", bits=bits, strategy="group", group_size=32)
        cases[f"packed_{bits}"] = (ct, {
            name: (formats.packed, dict(bits=bits, **options), (19, 64))
            for name, options in (("sym", {}), ("asym", dict(asym=True)), ("act", dict(actorder=True, dtype=torch.float16)))
        })
    cases["packed_channel"] = (compressed("pack-quantized", bits=4), {"m": (formats.packed, dict(group_size=-1), (9, 50))})
    cases["int8"] = (compressed("int-quantized"), {
        name: (formats.int8, dict(strategy=strategy, asym=asym), (20, 48))
        for name, strategy, asym in (("channel", "channel", False), ("tensor", "tensor", False), ("asym", "channel", True))
    })
    cases["int8_group"] = (compressed("int-quantized", strategy="group", group_size=16),
                           {"m": (formats.int8, dict(strategy="group", asym=True), (20, 48))})
    cases["float8"] = (compressed("float-quantized", kind="float"), {
        "channel": (formats.fp8, dict(strategy="channel", dtype=torch.bfloat16), (20, 48)),
        "tensor": (formats.fp8, {}, (20, 48))
    })
    cases["float8_block"] = (compressed("float-quantized", kind="float", strategy="block", block_structure=[16, 16]),
                             {"m": (formats.fp8, dict(strategy="block"), (40, 56))})
    cases["fp8_block"] = (dict(FP8, weight_block_size=[16, 16]),
                          {"m": (formats.fp8, dict(strategy="block", name="weight_scale_inv"), (40, 56))})
    cases["fp8_tensor"] = (dict(FP8, activation_scheme="static"), {"m": (formats.fp8, dict(scalar=True), (24, 40))})
    cases["fbgemm"] = (dict(quant_method="fbgemm_fp8", activation_scale_ub=1200.0),
                       {"m": (formats.fp8, dict(strategy="channel"), (24, 40))})
    cases["nf4"] = (BNB4, {
        "plain": (formats.bnb4, {}, (24, 40)),
        "nested": (formats.bnb4, dict(nested=True), (24, 40)),
        "odd": (formats.bnb4, dict(blocksize=32), (7, 13)),
    })
    cases["fp4"] = (BNB4, {"m": (formats.bnb4, dict(kind="fp4"), (24, 40))})
    cases["bnb8"] = (BNB8, {"m": (formats.bnb8, {}, (24, 40))})
    return cases


# A model in each scheme: name: (quantization_config, function, its options).
MODELS = {
    "gptq": (gptq_config(4, False), formats.gptq, dict(g_idx="act")),
    "awq": (dict(AWQ, group_size=8), formats.awq, dict(group_size=8)),
    "packed": (compressed("pack-quantized", bits=4, strategy="group", group_size=8), formats.packed, dict(group_size=8, asym=True)),
    "int8": (compressed("int-quantized"), formats.int8, {}),
    "fp8": (dict(FP8, weight_block_size=[16, 16]), formats.fp8, dict(strategy="block", name="weight_scale_inv")),
    "nf4": (BNB4, formats.bnb4, dict(nested=True)),
    "bnb8": (BNB8, formats.bnb8, {}),
}


def save(out, config, tensors):
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    save_file(tensors, out / "model.safetensors", {"format": "pt"})


def write_matrices(out):
    for name, (config, modules) in matrix_cases().items():
        rng = np.random.default_rng(sum(map(ord, name)))
        tensors, dense = {}, {}
        for module, (function, options, shape) in modules.items():
            packed, values = function(rng.normal(size=shape).astype(np.float32), rng, **options)
            tensors.update({f"{module}.{suffix}": tensor for suffix, tensor in packed.items()})
            dense[f"{module}.weight"] = torch.from_numpy(values.astype(np.float32))
        save(out / name, dict(quantization_config=config), tensors)
        save_file(dense, out / name / "dense.safetensors")


def write_floats(out):
    """Float types that no kernel reads, in every bit pattern that they have."""
    every = torch.arange(256, dtype=torch.uint8)
    tensors = {
        "f64": torch.randn(5, 7).double(),
        "e4m3": every.clone().view(torch.float8_e4m3fn),
        "e5m2": every.clone().view(torch.float8_e5m2),
        "e4m3fnuz": every.clone().view(torch.float8_e4m3fnuz),
        "e5m2fnuz": every.clone().view(torch.float8_e5m2fnuz),
        "e8m0": every.clone().view(torch.float8_e8m0fnu),
    }
    save(out, {}, tensors)
    save_file({k: v.float() for k, v in tensors.items()}, out / "dense.safetensors")


def fill(model, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            is_norm = "norm" in name or ".ln_" in name
            scale = 0.3 if is_norm else 0.2 if parameter.dim() == 1 else parameter.shape[-1]**-0.5
            parameter.copy_(noise * scale + (1.0 if is_norm and name.endswith("weight") else 0.0))


def write_model(out, model, config, names, function, options):
    """`names` are the linear layers; in a GPT-2 the float matrix is the transposed one."""
    model = model.eval()
    rng = np.random.default_rng(11)
    state = {k: v.detach().clone() for k, v in model.state_dict().items()}
    is_conv = model.config.model_type == "gpt2"
    with torch.no_grad():
        for name, module in model.named_modules():
            if name.split(".")[-1] not in names:
                continue
            weight = module.weight.T if is_conv else module.weight
            packed, dense = function(weight.numpy().copy(), rng, **options)
            assert np.isfinite(dense).all()
            dense = torch.from_numpy(dense)
            module.weight.copy_(dense.T if is_conv else dense)
            del state[name + ".weight"]
            state.update({f"{name}.{suffix}": tensor for suffix, tensor in packed.items()})
        prompt = torch.randint(3, model.config.vocab_size, (24,), generator=torch.Generator().manual_seed(3))
        logits = model(prompt[None]).logits[0]
    if model.config.tie_word_embeddings:
        del state["lm_head.weight"]
    fields = json.loads(model.config.to_json_string(use_diff=False))
    keep = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
            "max_position_embeddings", "rms_norm_eps", "tie_word_embeddings", "model_type", "n_embd", "n_layer", "n_head", "n_positions")
    fields = {k: v for k, v in fields.items() if k in keep}
    save(out, dict(architectures=[type(model).__name__], **fields, quantization_config=config), state)
    golden = {"prompt": prompt.to(torch.int32), "logits": logits.contiguous()}
    save_file(golden, out / "golden.safetensors")


def write_models(out):
    for name, (config, function, options) in MODELS.items():
        shape = transformers.Qwen2Config(vocab_size=67, hidden_size=32, intermediate_size=56, num_hidden_layers=1, num_attention_heads=4,
                                         num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=False,
                                         attn_implementation="eager")
        model = transformers.Qwen2ForCausalLM(shape)
        fill(model, 21)
        linear = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
        write_model(out / f"quantized_{name}", model, config, linear, function, options)
    shape = transformers.GPT2Config(vocab_size=67, n_embd=32, n_layer=1, n_head=4, n_positions=64, attn_implementation="eager")
    model = transformers.GPT2LMHeadModel(shape)
    fill(model, 22)
    write_model(out / "quantized_gptq_conv1d", model, gptq_config(4, True), ("c_attn", "c_fc", "c_proj"), formats.gptq,
                dict(v2=True, g_idx="act"))


# Mixtures of experts: name: (model, quantization_config, function, its options).
EXPERTS = dict(vocab_size=67, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
               tie_word_embeddings=False, attn_implementation="eager")
EXPERT_MODELS = {
    "mixtral_awq": ("Mixtral", dict(EXPERTS, intermediate_size=40, num_local_experts=4, num_experts_per_tok=2, sliding_window=None),
                    dict(AWQ, group_size=8), formats.awq, dict(group_size=8)),
    "qwen2_moe_gptq": ("Qwen2Moe", dict(EXPERTS, intermediate_size=48, moe_intermediate_size=32, shared_expert_intermediate_size=64,
                                        num_experts=4, num_experts_per_tok=2), gptq_config(4, False), formats.gptq, dict(g_idx="act")),
    "qwen3_moe_fp8": ("Qwen3Moe", dict(EXPERTS, head_dim=16, intermediate_size=48, moe_intermediate_size=40, num_experts=4,
                                       num_experts_per_tok=2), dict(FP8, weight_block_size=[16, 16]), formats.fp8,
                      dict(strategy="block", name="weight_scale_inv")),
}


def expert_matrices(model, state):
    """(name in a file, the view of the parameter that it is) of every expert's matrices; takes the stacked ones out of the state."""
    is_mixtral = model.config.model_type == "mixtral"
    names = ("w1", "w3", "w2") if is_mixtral else ("gate_proj", "up_proj", "down_proj")
    for number, layer in enumerate(model.model.layers):
        experts, prefix = layer.mlp.experts, f"model.layers.{number}.mlp."
        for stacked in ("gate_up_proj", "down_proj"):
            del state[f"{prefix}experts.{stacked}"]
        if is_mixtral:
            router = state.pop(prefix + "gate.weight")
            prefix = f"model.layers.{number}.block_sparse_moe."
            state[prefix + "gate.weight"] = router
        for e in range(experts.gate_up_proj.shape[0]):
            for name, view in zip(names, (*experts.gate_up_proj[e].chunk(2), experts.down_proj[e])):
                yield f"{prefix}experts.{e}.{name}", view


def write_expert_model(out, kind, fields, config, function, options):
    model = getattr(transformers, kind + "ForCausalLM")(getattr(transformers, kind + "Config")(**fields)).eval()
    fill(model, 23)
    rng = np.random.default_rng(12)
    state = {k: v.detach().clone() for k, v in model.state_dict().items()}
    linear = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    matrices = [(name, module.weight) for name, module in model.named_modules()
                if isinstance(module, torch.nn.Linear) and name.split(".")[-1] in linear]
    with torch.no_grad():
        matrices += list(expert_matrices(model, state))
        dense_state = dict(state)
        for name, view in matrices:
            packed, dense = function(view.numpy().copy(), rng, **options)
            assert np.isfinite(dense).all()
            view.copy_(torch.from_numpy(dense))
            state.pop(name + ".weight", None)
            dense_state[name + ".weight"] = torch.from_numpy(dense.astype(np.float32))
            state.update({f"{name}.{suffix}": tensor for suffix, tensor in packed.items()})
        prompt = torch.randint(3, model.config.vocab_size, (24,), generator=torch.Generator().manual_seed(3))
        logits = model(prompt[None]).logits[0]
    more = ("model_type", "rms_norm_eps", "norm_topk_prob", "decoder_sparse_step", "mlp_only_layers", "hidden_act", "qkv_bias", "rope_parameters")
    whole = json.loads(model.config.to_json_string(use_diff=False))
    saved = dict(fields, architectures=[type(model).__name__], **{k: whole[k] for k in more if k in whole})
    del saved["attn_implementation"]
    save(out, dict(saved, quantization_config=config), state)
    save(out / "dense", saved, dense_state)
    save_file({"prompt": prompt.to(torch.int32), "logits": logits.contiguous()}, out / "golden.safetensors")


def write_expert_models(out):
    for name, (kind, fields, config, function, options) in EXPERT_MODELS.items():
        write_expert_model(out / f"quantized_{name}", kind, fields, config, function, options)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=ROOT)
    parser.add_argument("--only", choices=["experts"])
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(5)
    write_expert_models(args.out)
    if args.only:
        return
    torch.manual_seed(5)
    write_floats(args.out / "floats")
    write_matrices(args.out / "quantized")
    write_models(args.out)


if __name__ == "__main__":
    main()
