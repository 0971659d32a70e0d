#!/usr/bin/env python3
"""Makes a Hugging Face LLaMA directory with random weights, for benchmarks and tests at the shape of a public model.

Needs the standard library and numpy only. The text that such a model writes means nothing, and its end-of-sequence
token comes up at random: benchmarks set ignore_eos.

Invariants:
  R1. The output is a function of (--preset, --dtype, --seed, --shards) only.
  R2. Memory stays below a few times BLOCK elements, whatever the size of the model: weights are streamed to the file.
  R3. Every file is complete when it gets its name (it is written beside it and renamed).
"""

import argparse
import json
import pathlib
import struct
import sys
import time

import numpy as np

# BLOCK random numbers are drawn once and then repeated from changing starts. A prime length, so that no row of a matrix
# equals another one.
BLOCK = 1048573
CHUNK = 1 << 20
NORM_DEVIATION = 0.1
BEGIN, END = "<|begin|>", "<|end|>"
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
         r"\s+(?!\S)|\s+")
DTYPES = {
    "bf16": ("BF16", "bfloat16", np.uint16),
    "f16": ("F16", "float16", np.float16),
    "f32": ("F32", "float32", np.float32)
}


def shape(layers, hidden, heads, kv_heads, head_dim, ffn, vocab, theta, max_positions, rope_scaling=None):
    return dict(num_hidden_layers=layers,
                hidden_size=hidden,
                num_attention_heads=heads,
                num_key_value_heads=kv_heads,
                head_dim=head_dim,
                intermediate_size=ffn,
                vocab_size=vocab,
                rope_theta=theta,
                max_position_embeddings=max_positions,
                rope_scaling=rope_scaling)


LLAMA3_SCALING = dict(rope_type="llama3",
                      factor=32.0,
                      low_freq_factor=1.0,
                      high_freq_factor=4.0,
                      original_max_position_embeddings=8192)
PRESETS = {
    "tiny": shape(2, 64, 8, 4, 16, 160, 512, 10000.0, 2048),
    "135M": shape(30, 576, 9, 3, 64, 1536, 49152, 100000.0, 8192),
    "0.5B": shape(24, 896, 14, 2, 64, 4864, 151936, 1000000.0, 32768),
    "1B": shape(16, 2048, 32, 8, 64, 8192, 128256, 500000.0, 131072, LLAMA3_SCALING),
}


def tensors_of(c):
    """Lists (name, shape, standard deviation) in the order of the file; deviation None marks a norm (near 1)."""
    h, f, q = c["hidden_size"], c["intermediate_size"], c["num_attention_heads"] * c["head_dim"]
    kv = c["num_key_value_heads"] * c["head_dim"]
    # What is added to the residual stream is smaller the more layers add to it, so that the stream stays near 1.
    out = (2 * c["num_hidden_layers"])**-0.5
    yield "model.embed_tokens.weight", (c["vocab_size"], h), h**-0.5
    for i in range(c["num_hidden_layers"]):
        prefix = f"model.layers.{i}."
        yield prefix + "input_layernorm.weight", (h,), None
        yield prefix + "self_attn.q_proj.weight", (q, h), h**-0.5
        yield prefix + "self_attn.k_proj.weight", (kv, h), h**-0.5
        yield prefix + "self_attn.v_proj.weight", (kv, h), h**-0.5
        yield prefix + "self_attn.o_proj.weight", (h, q), out * q**-0.5
        yield prefix + "post_attention_layernorm.weight", (h,), None
        yield prefix + "mlp.gate_proj.weight", (f, h), h**-0.5
        yield prefix + "mlp.up_proj.weight", (f, h), h**-0.5
        yield prefix + "mlp.down_proj.weight", (h, f), out * f**-0.5
    yield "model.norm.weight", (h,), None


def convert(values, dtype):
    """Rounds float32 values to the file's type; bfloat16 as its bits, to the nearest, ties to even."""
    if dtype != "bf16":
        return values.astype(DTYPES[dtype][2])
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


class RandomValues:
    """Endless random values of a few standard deviations, already in the file's type."""

    def __init__(self, seed, dtype):
        self.rng, self.dtype, self.blocks = np.random.default_rng(seed), dtype, {}
        self.normal = self.rng.standard_normal(BLOCK, dtype=np.float32)

    def chunks(self, count, deviation):
        """Yields arrays of at most CHUNK values, `count` in all."""
        if deviation not in self.blocks:
            values = 1 + NORM_DEVIATION * self.normal if deviation is None else deviation * self.normal
            self.blocks[deviation] = convert(values, self.dtype)
        block = self.blocks[deviation]
        while count > 0:
            start = int(self.rng.integers(BLOCK))
            part = block[start:start + min(count, CHUNK)]
            yield part
            count -= len(part)


class Progress:

    def __init__(self, total):
        self.total, self.done, self.started, self.shown = total, 0, time.monotonic(), 0.0

    def add(self, count):
        self.done += count
        now = time.monotonic()
        if now - self.shown < 0.2 and self.done < self.total:
            return
        self.shown = now
        filled = 30 * self.done // self.total
        rate = self.done / max(now - self.started, 1e-9) / 1e6
        print(
            f"\r[{'#' * filled}{'.' * (30 - filled)}] {self.done / 1e6:.0f} of {self.total / 1e6:.0f} MB  "
            f"{rate:.0f} MB/s ",
            end="\n" if self.done == self.total else "",
            file=sys.stderr,
            flush=True)


def element_count(dims):
    return int(np.prod(dims))


def write_safetensors(path, tensors, values, dtype, progress):
    """Writes one file: length of the header, JSON header padded to 8 bytes, then the tensors without holes."""
    code, _, numpy_type = DTYPES[dtype]
    size, offset, header = np.dtype(numpy_type).itemsize, 0, {"__metadata__": {"format": "pt"}}
    for name, dims, _ in tensors:
        end = offset + element_count(dims) * size
        header[name] = {"dtype": code, "shape": list(dims), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    partial = path.with_name(path.name + ".partial")
    with open(partial, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, dims, deviation in tensors:
            for part in values.chunks(element_count(dims), deviation):
                file.write(part.data)
                progress.add(part.nbytes)
    partial.rename(path)


def split_into_shards(tensors, count, size):
    """Splits the list into `count` runs of about equal bytes."""
    total, shards, filled = sum(element_count(d) for _, d, _ in tensors) * size, [[] for _ in range(count)], 0
    for tensor in tensors:
        shards[min(count - 1, filled * count // total)].append(tensor)
        filled += element_count(tensor[1]) * size
    return [s for s in shards if s]


def write_weights(out, config, dtype, seed, num_shards):
    tensors, size = list(tensors_of(config)), np.dtype(DTYPES[dtype][2]).itemsize
    total = sum(element_count(d) for _, d, _ in tensors) * size
    values, progress = RandomValues(seed, dtype), Progress(total)
    if num_shards == 1:
        write_safetensors(out / "model.safetensors", tensors, values, dtype, progress)
        return total
    shards, weight_map = split_into_shards(tensors, num_shards, size), {}
    for i, shard in enumerate(shards):
        name = f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors"
        write_safetensors(out / name, shard, values, dtype, progress)
        weight_map.update({tensor[0]: name for tensor in shard})
    write_json(out / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": weight_map})
    return total


def byte_alphabet():
    """What stands for each byte in byte-level BPE: printable Latin-1 for itself, characters from U+0100 for others."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = iter(range(256, 512))
    return [chr(b) if b in shown else chr(next(hidden)) for b in range(256)]


def merge_pairs():
    """Yields (left, right) without end of use: words of 2, 3 and 4 letters, with and without a space before them."""
    letters, space = "etaoinshrdlcumwfgypbvkxjqz", byte_alphabet()[ord(" ")]
    pairs = [a + b for a in letters for b in letters]
    yield from ((a, b) for a in letters for b in letters)
    yield from ((space, a) for a in letters)
    yield from ((space, p) for p in pairs)
    yield from ((p, a) for p in pairs for a in letters)
    yield from ((space + p, a) for p in pairs for a in letters)
    yield from ((p, q) for p in pairs for q in pairs)


def make_tokenizer(vocab_size):
    """A byte-level BPE tokenizer.json of vocab_size tokens: 256 bytes, merged words, two specials at the end."""
    vocab, merges = {c: i for i, c in enumerate(byte_alphabet())}, []
    for left, right in merge_pairs():
        if len(vocab) == vocab_size - 2:
            break
        vocab[left + right] = len(vocab)
        merges.append(f"{left} {right}")
    if len(vocab) != vocab_size - 2:
        raise ValueError(
            f"a vocabulary of {vocab_size} tokens is more than the {len(vocab) + 2} that merge_pairs gives")
    begin, end = vocab_size - 2, vocab_size - 1
    special = dict(single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
    byte_level = dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=False)
    first = {"SpecialToken": {"id": BEGIN, "type_id": 0}}
    template = dict(type="TemplateProcessing",
                    single=[first, {
                        "Sequence": {
                            "id": "A",
                            "type_id": 0
                        }
                    }],
                    pair=[
                        first, {
                            "Sequence": {
                                "id": "A",
                                "type_id": 0
                            }
                        }, {
                            "SpecialToken": {
                                "id": BEGIN,
                                "type_id": 1
                            }
                        }, {
                            "Sequence": {
                                "id": "B",
                                "type_id": 1
                            }
                        }
                    ],
                    special_tokens={BEGIN: {
                        "id": BEGIN,
                        "ids": [begin],
                        "tokens": [BEGIN]
                    }})
    return dict(version="1.0",
                truncation=None,
                padding=None,
                added_tokens=[dict(id=begin, content=BEGIN, **special),
                              dict(id=end, content=END, **special)],
                normalizer=None,
                pre_tokenizer=dict(type="Sequence",
                                   pretokenizers=[
                                       dict(type="Split", pattern={"Regex": SPLIT}, behavior="Isolated", invert=False),
                                       byte_level
                                   ]),
                post_processor=dict(type="Sequence", processors=[dict(byte_level, use_regex=True), template]),
                decoder=dict(byte_level, use_regex=True),
                model=dict(type="BPE",
                           dropout=None,
                           unk_token=None,
                           continuing_subword_prefix=None,
                           end_of_word_suffix=None,
                           fuse_unk=False,
                           byte_fallback=False,
                           ignore_merges=False,
                           vocab=vocab,
                           merges=merges))


def write_json(path, value, indent=2):
    path.write_text(json.dumps(value, indent=indent, ensure_ascii=False) + "\n", encoding="utf-8")


def write_model(out, preset, dtype, seed, num_shards):
    """Writes the directory, config.json last, so that one that has it is complete; returns the bytes of the weights."""
    out.mkdir(parents=True, exist_ok=True)
    for old in [*out.glob("model*.safetensors"), *out.glob("model.safetensors.index.json"), *out.glob("config.json")]:
        old.unlink()
    c = PRESETS[preset]
    ids = dict(bos_token_id=c["vocab_size"] - 2, eos_token_id=c["vocab_size"] - 1)
    write_json(out / "tokenizer.json", make_tokenizer(c["vocab_size"]), indent=None)
    write_json(
        out / "tokenizer_config.json",
        dict(tokenizer_class="PreTrainedTokenizerFast",
             bos_token=BEGIN,
             eos_token=END,
             clean_up_tokenization_spaces=False,
             model_max_length=c["max_position_embeddings"]))
    write_json(out / "generation_config.json", dict(ids, do_sample=True, temperature=1.0))
    total = write_weights(out, c, dtype, seed, num_shards)
    write_json(
        out / "config.json",
        dict(architectures=["LlamaForCausalLM"],
             model_type="llama",
             torch_dtype=DTYPES[dtype][1],
             hidden_act="silu",
             rms_norm_eps=1e-5,
             tie_word_embeddings=True,
             attention_bias=False,
             mlp_bias=False,
             **c,
             **ids))
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=PRESETS, default="tiny")
    parser.add_argument("--out",
                        type=pathlib.Path,
                        required=True,
                        help="directory to write; made where it does not exist")
    parser.add_argument("--dtype", choices=DTYPES, default="bf16")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--shards", type=int, default=1, help="number of weight files (default 1)")
    args = parser.parse_args()
    if args.shards < 1:
        parser.error(f"--shards is {args.shards}; it must be at least 1")
    total = write_model(args.out, args.preset, args.dtype, args.seed, args.shards)
    print(f"{args.out}: {args.preset} {args.dtype}, {total / 1e6:.1f} MB of weights, seed {args.seed}")


if __name__ == "__main__":
    main()
