#!/usr/bin/env python3
"""Makes the golden checkpoints and logits in tests/goldens with Hugging Face transformers as the reference.

Each case is a tiny model with random weights, written as a Hugging Face directory, plus golden.safetensors and
golden.json (README.md names what they hold). The weights are not the library's initialisation: every norm and bias is
random too, because zero biases and unit norms hide mistakes.

Invariants:
  G1. The output is a function of this file and the pinned versions only: each case has a fixed first seed, and the seed
      that is used is the first one at which the two best tokens of every greedy step are more than MIN_GAP apart and
      every continuation has MIN_DISTINCT different tokens (one that repeats itself would hide a wrong position).
  G2. Logits come from one forward pass without a cache, eager attention, float32.
  G3. The reference agrees with itself: prefill in chunks with a cache gives the same logits within SELF_TOLERANCE.
"""

import argparse
import functools
import json
import pathlib
import shutil
import tempfile

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file

import attention_cases
import expert_cases
import family_cases
import long_rope_cases
import remote_cases

LENGTHS = (1, 7, 24, 200)
GREEDY_LENGTHS = (7, 24)
GREEDY_STEPS = 64
MIN_GAP = 1e-3
MIN_DISTINCT = 8
BF16_CLEAR_GAP = 1e-2
SELF_TOLERANCE = 2e-5
CHUNK = 9

LLAMA_GQA = dict(vocab_size=101,
                 hidden_size=64,
                 intermediate_size=80,
                 num_hidden_layers=2,
                 num_attention_heads=8,
                 num_key_value_heads=2,
                 head_dim=16,
                 max_position_embeddings=512,
                 rms_norm_eps=1e-5,
                 attention_bias=True,
                 mlp_bias=True,
                 tie_word_embeddings=False,
                 bos_token_id=0,
                 eos_token_id=1)
LLAMA_GQA_ROPE = dict(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16)
LLAMA_GQA_THETA = 500000.0
LLAMA_TIED = dict(vocab_size=99,
                  hidden_size=48,
                  intermediate_size=112,
                  num_hidden_layers=2,
                  num_attention_heads=4,
                  num_key_value_heads=4,
                  max_position_embeddings=512,
                  rms_norm_eps=1e-6,
                  tie_word_embeddings=True,
                  bos_token_id=0,
                  eos_token_id=1)
GPT2 = dict(vocab_size=103,
            n_positions=320,
            n_embd=32,
            n_layer=3,
            n_head=4,
            n_inner=80,
            activation_function="gelu_new",
            layer_norm_epsilon=1e-5,
            bos_token_id=0,
            eos_token_id=1)


def llama_gqa(dtype=torch.float32):
    rope = dict(LLAMA_GQA_ROPE, rope_type="llama3", rope_theta=LLAMA_GQA_THETA)
    return transformers.LlamaForCausalLM._from_config(transformers.LlamaConfig(**LLAMA_GQA, rope_parameters=rope),
                                                      attn_implementation="eager",
                                                      dtype=dtype)


def llama_tied():
    rope = dict(rope_type="default", rope_theta=10000.0)
    return transformers.LlamaForCausalLM._from_config(transformers.LlamaConfig(**LLAMA_TIED, rope_parameters=rope),
                                                      attn_implementation="eager",
                                                      dtype=torch.float32)


def gpt2():
    return transformers.GPT2LMHeadModel._from_config(transformers.GPT2Config(**GPT2),
                                                     attn_implementation="eager",
                                                     dtype=torch.float32)


def randomize(model, seed):
    """Fills every parameter: norms near 1, biases N(0, 0.2), matrices N(0, 1/sqrt(fan in)), embeddings N(0, 1)."""
    generator = torch.Generator().manual_seed(seed)
    tied = model.config.tie_word_embeddings
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            z = torch.randn(p.shape, generator=generator)
            if p.dim() == 1:
                is_norm = name.endswith("weight")
                p.copy_(1 + 0.3 * z if is_norm else 0.2 * z)
            elif "wpe" in name:
                p.copy_(0.3 * z)
            elif "embed_tokens" in name or "wte" in name:
                p.copy_(z / p.shape[1]**0.5 if tied else z)
            else:
                is_conv1d = isinstance(model, transformers.GPT2LMHeadModel)
                p.copy_(z / p.shape[0 if is_conv1d else 1]**0.5)
    return model.eval()


def logits_of(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids]), use_cache=False).logits[0].float()


def top2_gap(logits):
    best = torch.topk(logits, 2, dim=-1).values
    return best[..., 0] - best[..., 1]


def greedy(model, ids):
    """Returns the GREEDY_STEPS next tokens and the smallest gap between the two best logits on the way."""
    ids, gap = list(ids), float("inf")
    for _ in range(GREEDY_STEPS):
        last = logits_of(model, ids)[-1]
        gap = min(gap, float(top2_gap(last)))
        ids.append(int(last.argmax()))
    return ids[-GREEDY_STEPS:], gap


def chunked_difference(model, ids, reference):
    """Largest difference between the reference logits and those of a prefill in chunks with the library's cache."""
    cache, worst = None, 0.0
    with torch.no_grad():
        for start in range(0, len(ids), CHUNK):
            out = model(torch.tensor([ids[start:start + CHUNK]]), past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            part = reference[start:start + CHUNK]
            worst = max(worst, float((out.logits[0].float() - part).abs().max()))
    return worst


def prompts(vocab_size, seed):
    rng = np.random.default_rng(seed)
    return {n: [int(t) for t in rng.integers(0, vocab_size, n)] for n in LENGTHS}


def reference_of(model, seed):
    """Returns (golden tensors, facts) of a model in float32, or None where the greedy tokens break G1."""
    tensors, min_gap, distinct, chunk_diff = {}, float("inf"), GREEDY_STEPS, 0.0
    for n, ids in prompts(model.config.vocab_size, seed).items():
        logits = logits_of(model, ids)
        tensors[f"prompt_{n}"] = torch.tensor(ids, dtype=torch.int32)
        tensors[f"positions_{n}"] = torch.arange(n, dtype=torch.int32)
        tensors[f"logits_{n}"] = logits.contiguous()
        chunk_diff = max(chunk_diff, chunked_difference(model, ids, logits))
        if n in GREEDY_LENGTHS:
            tokens, gap = greedy(model, ids)
            min_gap, distinct = min(min_gap, gap), min(distinct, len(set(tokens)))
            tensors[f"greedy_{n}"] = torch.tensor(tokens, dtype=torch.int32)
    if min_gap <= MIN_GAP or distinct < MIN_DISTINCT:
        return None
    assert chunk_diff < SELF_TOLERANCE, f"the reference disagrees with itself by {chunk_diff}"
    return tensors, {
        "seed": str(seed),
        "greedy_min_gap": f"{min_gap:.6f}",
        "chunked_max_difference": f"{chunk_diff:.3e}"
    }


def search_seed(build,
                first_seed,
                weights=torch.float32,
                accept=lambda model, tensors, facts: True,
                tries=200,
                fill=randomize):
    """Tries seeds upwards until reference_of and accept take one (G1); weights are float32, rounded to `weights`."""
    for seed in range(first_seed, first_seed + tries):
        model = fill(build(), seed)
        with torch.no_grad():
            for p in model.parameters():
                p.copy_(p.to(weights).float())
        found = reference_of(model, seed)
        if found and accept(model, *found):
            return (model, *found)
    raise RuntimeError(f"no seed from {first_seed} to {first_seed + tries - 1} meets G1")


def add_bf16(wide_model, tensors, facts):
    """Adds the run of the same weights in bfloat16 throughout.

    bf16_clear_N lists the positions at which that run's two best logits are more than BF16_CLEAR_GAP apart. Returns
    false where the best token at one of them differs from the float32 run's: it depends on the order of roundings.
    """
    model = llama_gqa(torch.bfloat16)
    model.load_state_dict(wide_model.state_dict())
    model.eval()
    worst = 0.0
    for n in LENGTHS:
        logits, wide = logits_of(model, tensors[f"prompt_{n}"].tolist()), tensors[f"logits_{n}"]
        clear = torch.nonzero(top2_gap(logits) > BF16_CLEAR_GAP).flatten()
        if not torch.equal(logits.argmax(-1)[clear], wide.argmax(-1)[clear]):
            return False
        tensors[f"bf16_logits_{n}"] = logits.contiguous()
        tensors[f"bf16_clear_{n}"] = clear.to(torch.int32)
        facts[f"bf16_clear_{n}"] = f"{len(clear)} of {n}"
        worst = max(worst, float((logits - wide).abs().max()))
    facts["bf16_max_difference"] = f"{worst:.4f}"
    return True


def save(path, tensors, metadata):
    save_file(tensors, path, metadata=metadata)
    path.chmod(0o644)


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n")


def llama_config(fields, dtype, **more):
    return dict(architectures=["LlamaForCausalLM"],
                model_type="llama",
                hidden_act="silu",
                dtype=dtype,
                **fields,
                **more)


def gpt2_config():
    return dict(architectures=["GPT2LMHeadModel"], model_type="gpt2", **GPT2)


def state_of(model):
    """The tensors that a checkpoint holds; a tied head is stored once, as the embedding."""
    state = {k: v.detach().contiguous() for k, v in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        state.pop("lm_head.weight")
    return state


def write_single(out, config, state, golden=None):
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    write_json(out / "config.json", config)
    save(out / "model.safetensors", state, {"format": "pt"})
    if golden:
        tensors, facts = golden
        versions = {"transformers": transformers.__version__, "torch": torch.__version__.split("+")[0]}
        save(out / "golden.safetensors", tensors, {"format": "pt"})
        write_json(out / "golden.json", {**facts, **versions})


def write_sharded(out, config, state, num_shards):
    """Splits the state over num_shards files in name order, with the index that the hub's sharded checkpoints carry."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    write_json(out / "config.json", config)
    names, weight_map = sorted(state), {}
    for i in range(num_shards):
        file = f"model-{i + 1:05d}-of-{num_shards:05d}.safetensors"
        part = names[i * len(names) // num_shards:(i + 1) * len(names) // num_shards]
        save(out / file, {n: state[n] for n in part}, {"format": "pt"})
        weight_map.update({n: file for n in part})
    total = sum(t.numel() * t.element_size() for t in state.values())
    write_json(out / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": weight_map})


def make_llama_gqa(root):
    model, tensors, facts = search_seed(llama_gqa, 1000)
    report("llama_gqa", facts)
    state = state_of(model)
    v5 = dict(LLAMA_GQA_ROPE, rope_type="llama3", rope_theta=LLAMA_GQA_THETA)
    write_single(root / "llama_gqa", llama_config(LLAMA_GQA, "float32", rope_parameters=v5), state, (tensors, facts))
    v4 = dict(rope_theta=LLAMA_GQA_THETA, rope_scaling=dict(LLAMA_GQA_ROPE, rope_type="llama3"), torch_dtype="float32")
    sharded = dict(state)
    inv_freq = LLAMA_GQA_THETA**(-torch.arange(0, LLAMA_GQA["head_dim"], 2) / LLAMA_GQA["head_dim"])
    sharded["model.layers.0.self_attn.rotary_emb.inv_freq"] = inv_freq
    config = llama_config(LLAMA_GQA, None, **v4)
    del config["dtype"]
    write_sharded(root / "llama_gqa_sharded", config, sharded, 3)


def make_llama_gqa_bf16(root):
    model, tensors, facts = search_seed(llama_gqa, 2000, weights=torch.bfloat16, accept=add_bf16)
    report("llama_gqa_bf16", facts)
    rope = dict(LLAMA_GQA_ROPE, rope_type="llama3", rope_theta=LLAMA_GQA_THETA)
    state = {k: v.to(torch.bfloat16) for k, v in state_of(model).items()}
    write_single(root / "llama_gqa_bf16", llama_config(LLAMA_GQA, "bfloat16", rope_parameters=rope), state,
                 (tensors, facts))


def make_llama_tied(root):
    """The config leaves out what the hub's older files leave out: head_dim, rope keys, num_key_value_heads, biases."""
    model, tensors, facts = search_seed(llama_tied, 3000)
    report("llama_tied", facts)
    fields = {k: v for k, v in LLAMA_TIED.items() if k != "num_key_value_heads"}
    config = llama_config(fields, None, torch_dtype="float32")
    del config["dtype"]
    write_single(root / "llama_tied", config, state_of(model), (tensors, facts))


def make_gpt2(root):
    """gpt2 has the names that the library saves; gpt2_hub the hub's older ones, without prefix, with mask buffers."""
    model, tensors, facts = search_seed(gpt2, 4000)
    report("gpt2", facts)
    state = state_of(model)
    write_single(root / "gpt2", gpt2_config(), state, (tensors, facts))
    hub = {k.removeprefix("transformer."): v for k, v in state.items()}
    n = GPT2["n_positions"]
    hub["h.0.attn.bias"] = torch.tril(torch.ones(n, n, dtype=torch.uint8)).view(1, 1, n, n)
    hub["h.0.attn.masked_bias"] = torch.tensor(-1e4)
    write_single(root / "gpt2_hub", gpt2_config(), hub)


def make_family(root, name):
    """Config and names are the ones that the library saves."""
    after = remote_cases.AFTER_FILL.get(name, lambda model: model)
    fill = lambda model, seed: after(family_cases.randomize(model, seed))
    model, tensors, facts = search_seed(lambda: family_cases.build(name), 5000, fill=fill)
    report(name, facts)
    with tempfile.TemporaryDirectory() as saved:
        model.save_pretrained(saved)
        config = json.loads((pathlib.Path(saved) / "config.json").read_text())
        state = load_file(pathlib.Path(saved) / "model.safetensors")
    if name in long_rope_cases.EXTRA:
        long_rope_cases.EXTRA[name](model, tensors)
    files = {**long_rope_cases.FILES, **remote_cases.FILES}
    if name in files:
        config, state = files[name](config, state)
        state = {k: v.contiguous() for k, v in state.items()}
    write_single(root / name, config, state, (tensors, facts))
    for other, files in attention_cases.ALSO.get(name, {}).items():
        write_single(root / other, *files(config, state))


def make_baichuan2_13b(root):
    """Only its vocabulary of 125,696 tokens tells this model from the first generation's, and with it a checkpoint would be
    large. The file holds the first rows of both tables; the test repeats them, those of the head at other lengths
    (worker/model/wide_vocabulary_test.cc). So the reference has as many columns as there are rows here."""
    fill = lambda model, seed: remote_cases.baichuan2_head(family_cases.randomize(model, seed))
    model, tensors, facts = search_seed(lambda: family_cases.build("baichuan_13b"), 7000, fill=fill)
    report("baichuan2_13b", facts)
    config = dict(vars(model.config), architectures=["BaichuanForCausalLM"], model_type="baichuan", hidden_act="silu",
                  vocab_size=125696)
    write_single(root / "baichuan2_13b", config, state_of(model))
    save(root / "baichuan2_13b" / "reference.safetensors", tensors, {"format": "pt"})


def make_experts(root, name):
    """As make_family; `name`_stacked is the same model with the experts of a layer in one tensor."""
    model, tensors, facts = search_seed(lambda: expert_cases.build(name),
                                        6000,
                                        accept=expert_cases.accept,
                                        fill=expert_cases.randomize)
    report(name, facts)
    for suffix, original_format in (("", True), ("_stacked", False)):
        with tempfile.TemporaryDirectory() as saved:
            model.save_pretrained(saved, save_original_format=original_format)
            config = json.loads((pathlib.Path(saved) / "config.json").read_text())
            state = load_file(pathlib.Path(saved) / "model.safetensors")
        write_single(root / (name + suffix), config, state, (tensors, facts) if original_format else None)


def report(case, facts):
    print(case, " ".join(f"{k}={v}" for k, v in facts.items()), flush=True)


CASES = {
    "llama_gqa": make_llama_gqa,
    "llama_gqa_bf16": make_llama_gqa_bf16,
    "llama_tied": make_llama_tied,
    "gpt2": make_gpt2,
    "baichuan2_13b": make_baichuan2_13b,
    **{name: functools.partial(make_family, name=name) for name in family_cases.FAMILIES},
    **{name: functools.partial(make_experts, name=name) for name in expert_cases.FAMILIES}
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out",
                        type=pathlib.Path,
                        default=pathlib.Path(__file__).resolve().parents[2] / "tests" / "goldens")
    parser.add_argument("--case", choices=[*CASES, "all"], default="all")
    args = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    for name in CASES if args.case == "all" else [args.case]:
        CASES[name](args.out)


if __name__ == "__main__":
    main()
