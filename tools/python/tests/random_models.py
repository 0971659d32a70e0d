"""Tiny models with random weights in the layout of public ones: what the tests use in place of checkpoints that are not here."""
import json
import random
import struct

_BEGIN = "<|endoftext|>"
VOCAB_SIZE = 257


def _byte_alphabet():
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = iter(range(256, 512))
    return [chr(b) if b in shown else chr(next(hidden)) for b in range(256)]


def _tokenizer():
    vocab = {c: i for i, c in enumerate(_byte_alphabet())}
    special = dict(id=256, content=_BEGIN, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
    byte_level = dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=True)
    return dict(version="1.0", truncation=None, padding=None, added_tokens=[special], normalizer=None, pre_tokenizer=byte_level,
                post_processor=None, decoder=byte_level,
                model=dict(type="BPE", dropout=None, unk_token=None, continuing_subword_prefix="", end_of_word_suffix="", fuse_unk=False,
                           byte_fallback=False, vocab=vocab, merges=[]))


def _write_weights(path, shapes):
    rng, header, data = random.Random(1), {}, b""
    for name, shape in shapes.items():
        count = 1
        for size in shape:
            count *= size
        centre = 1.0 if "norm" in name and name.endswith("weight") or "ln_" in name and name.endswith("weight") else 0.0
        values = struct.pack(f"<{count}f", *(rng.gauss(centre, 0.1) for _ in range(count)))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def _write(folder, config, shapes):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(json.dumps(_tokenizer()))
    _write_weights(folder / "model.safetensors", shapes)


def write_gpt2(folder, hidden=32, layers=2, positions=256):
    shapes = {"wte.weight": [VOCAB_SIZE, hidden], "wpe.weight": [positions, hidden], "ln_f.weight": [hidden], "ln_f.bias": [hidden]}
    for i in range(layers):
        for name, shape in (("ln_1.weight", [hidden]), ("ln_1.bias", [hidden]), ("ln_2.weight", [hidden]), ("ln_2.bias", [hidden]),
                            ("attn.c_attn.weight", [hidden, 3 * hidden]), ("attn.c_attn.bias", [3 * hidden]),
                            ("attn.c_proj.weight", [hidden, hidden]), ("attn.c_proj.bias", [hidden]),
                            ("mlp.c_fc.weight", [hidden, 4 * hidden]), ("mlp.c_fc.bias", [4 * hidden]),
                            ("mlp.c_proj.weight", [4 * hidden, hidden]), ("mlp.c_proj.bias", [hidden])):
            shapes[f"h.{i}.{name}"] = shape
    _write(folder, dict(architectures=["GPT2LMHeadModel"], model_type="gpt2", vocab_size=VOCAB_SIZE, n_positions=positions, n_embd=hidden,
                        n_layer=layers, n_head=4, activation_function="gelu_new", layer_norm_epsilon=1e-5, bos_token_id=256,
                        eos_token_id=256), shapes)


def write_opt(folder, hidden=32, ffn=64, layers=2, positions=256):
    prefix = "model.decoder."
    shapes = {prefix + "embed_tokens.weight": [VOCAB_SIZE, hidden], prefix + "embed_positions.weight": [positions + 2, hidden],
              prefix + "final_layer_norm.weight": [hidden], prefix + "final_layer_norm.bias": [hidden]}
    for i in range(layers):
        for name, rows, columns in (("self_attn.q_proj", hidden, hidden), ("self_attn.k_proj", hidden, hidden),
                                    ("self_attn.v_proj", hidden, hidden), ("self_attn.out_proj", hidden, hidden), ("fc1", ffn, hidden),
                                    ("fc2", hidden, ffn), ("self_attn_layer_norm", hidden, 0), ("final_layer_norm", hidden, 0)):
            shapes[f"{prefix}layers.{i}.{name}.weight"] = [rows, columns] if columns else [rows]
            shapes[f"{prefix}layers.{i}.{name}.bias"] = [rows]
    _write(folder, dict(architectures=["OPTForCausalLM"], model_type="opt", vocab_size=VOCAB_SIZE, hidden_size=hidden, ffn_dim=ffn,
                        num_hidden_layers=layers, num_attention_heads=4, max_position_embeddings=positions, word_embed_proj_dim=hidden,
                        do_layer_norm_before=True, enable_bias=True, activation_function="relu", bos_token_id=256, eos_token_id=256,
                        pad_token_id=256, tie_word_embeddings=True), shapes)
