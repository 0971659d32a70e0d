#!/usr/bin/env python3
"""Makes the tokenizer goldens in coordinator/text/testdata with the reference, PyPI `tokenizers`.

Trains two small tokenizers on text that this script makes from a seed (one byte-level in Llama 3's manner, one with
byte fallback in Llama 2's), writes their tokenizer.json files, and what the reference makes of a few thousand lines.
A list of variants (merge patches on the two files) covers the components of other families with one hash a line.

Usage, in a virtual environment outside the tree:
    pip install -r tools/goldens/tokenizer/requirements.txt
    python tools/goldens/tokenizer/make_tokenizer_goldens.py coordinator/text/testdata
Running it twice gives the same bytes.
"""

import collections
import copy
import json
import pathlib
import random
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from lines import make_corpus, make_lines
from variants import LLAMA3_PATTERN, VARIANTS, added

SEED = 20240917
BYTE_LEVEL_SIZE = 2600
BYTE_FALLBACK_SIZE = 2400
ALPHABET_SIZE = 220
NUM_ID_SEQUENCES = 300
VARIANT_LINE_STRIDE = 3
VERSION = "0.23.3"


def train_byte_level(corpus):
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA3_PATTERN), "isolated", False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=BYTE_LEVEL_SIZE,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator(corpus, trainer)
    specials = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    tokenizer.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in specials])
    bos = tokenizer.token_to_id("<|begin_of_text|>")
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=True),
        processors.TemplateProcessing(single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", bos)]),
    ])
    data = json.loads(tokenizer.to_str())
    # ignore_merges must matter: take away merges that nothing else builds on, so that some words are tokens which the
    # merges alone cannot reach.
    used = {part for merge in data["model"]["merges"] for part in merge}
    kept, dropped = [], 0
    for rank, merge in enumerate(data["model"]["merges"]):
        if rank % 7 == 3 and "".join(merge) not in used:
            dropped += 1
        else:
            kept.append(merge)
    assert dropped > 50, dropped
    data["model"]["merges"] = kept
    return data


def train_byte_fallback(corpus):
    byte_tokens = [f"<0x{b:02X}>" for b in range(256)]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=True)
    trainer = trainers.BpeTrainer(
        vocab_size=BYTE_FALLBACK_SIZE,
        show_progress=False,
        special_tokens=["<unk>", "<s>", "</s>"] + byte_tokens)
    # Rare characters must be left to the bytes. The trainer's own limit breaks ties at random, so they are taken out here.
    counts = collections.Counter("".join(corpus))
    kept = set(sorted(counts, key=lambda c: (-counts[c], c))[:ALPHABET_SIZE])
    tokenizer.train_from_iterator(["".join(c for c in text if c in kept) for text in corpus], trainer)
    data = json.loads(tokenizer.to_str())
    data["added_tokens"] = [t for t in data["added_tokens"] if t["content"] not in set(byte_tokens)]
    for token in data["added_tokens"]:
        token["normalized"] = False
    # Runs of spaces, as Llama's vocabulary has them; "▁▁" + "▁▁" and so on.
    vocab, merges = data["model"]["vocab"], [list(m) for m in data["model"]["merges"]]
    for length in (2, 4, 8, 16):
        run = "▁" * length
        if run not in vocab:
            vocab[run] = len(vocab)
        merges.append(["▁" * (length // 2)] * 2)
    # Old files write a merge as one string.
    data["model"]["merges"] = [" ".join(m) for m in merges]
    data["normalizer"] = {"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "▁"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
    ]}
    data["pre_tokenizer"] = None
    data["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [vocab["<s>"]], "tokens": ["<s>"]}},
    }
    data["decoder"] = {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0},
    ]}
    return data


def merge_patch(target, patch):
    """RFC 7386, as the test applies it."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def load(data):
    """The reference wants every slot to be there; a merge patch removes those that it sets to null."""
    full = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
            "pre_tokenizer": None, "post_processor": None, "decoder": None}
    full.update(data)
    return Tokenizer.from_str(json.dumps(full))


def fnv1a(data, seed=0x811C9DC5):
    value = seed
    for byte in data:
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


def line_hash(ids, text):
    """One hash over ids and decoded text: the test computes the same."""
    value = fnv1a(b"".join(i.to_bytes(4, "little") for i in ids))
    return f"{fnv1a(text.encode(), value):08x}"


def write_json_lines(path, rows):
    with open(path, "w", encoding="utf-8", newline="\n") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")


def write_main_goldens(folder, data, lines, rng):
    tokenizer = load(data)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(
        json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    rows, same = [], 0
    for line in lines:
        ids = tokenizer.encode(line, add_special_tokens=True).ids
        text = tokenizer.decode(ids, skip_special_tokens=True)
        same += text == line
        rows.append([ids] if text == line else [ids, text])
    write_json_lines(folder / "encoded.jsonl", rows)
    print(f"{folder.name}: {len(lines)} lines, {same} come back as they were")
    # Ids that no text encodes to: broken characters, byte tokens in any order, special tokens amid them.
    size = tokenizer.get_vocab_size()
    rows = []
    for i in range(NUM_ID_SEQUENCES):
        top = size + 3 if i % 2 else min(size, 300)  # half of them mostly single bytes; some ids have no token
        ids = [rng.randrange(top) for _ in range(rng.randrange(1, 25))]
        rows.append([ids, tokenizer.decode(ids, skip_special_tokens=False),
                     tokenizer.decode(ids, skip_special_tokens=True)])
    write_json_lines(folder / "decoded.jsonl", rows)


def write_variant_goldens(path, bases, lines):
    rows = []
    for name, base, patch in VARIANTS:
        if patch.get("added_tokens") == "ADDED":
            data = bases[base]
            first_id = max([t["id"] for t in data["added_tokens"]] + list(data["model"]["vocab"].values())) + 1
            patch = dict(patch, added_tokens=added(first_id, data["added_tokens"], data["model"]["vocab"]))
        tokenizer = load(merge_patch(bases[base], patch))
        hashes = []
        for line in lines[::VARIANT_LINE_STRIDE]:
            ids = tokenizer.encode(line, add_special_tokens=True).ids
            hashes.append(line_hash(ids, tokenizer.decode(ids, skip_special_tokens=False)))
        rows.append({"name": name, "base": base, "stride": VARIANT_LINE_STRIDE, "patch": patch,
                     "hashes": "".join(hashes)})
    write_json_lines(path, rows)
    print(f"{len(rows)} variants over {len(lines[::VARIANT_LINE_STRIDE])} lines")


def main():
    import tokenizers
    if tokenizers.__version__ != VERSION:
        sys.exit(f"needs tokenizers {VERSION}, found {tokenizers.__version__}")
    out = pathlib.Path(sys.argv[1])
    rng = random.Random(SEED)
    corpus = make_corpus(rng)
    lines = make_lines(rng)
    out.mkdir(parents=True, exist_ok=True)
    write_json_lines(out / "lines.jsonl", lines)
    bases = {"byte_level": train_byte_level(corpus), "byte_fallback": train_byte_fallback(corpus)}
    for name, data in bases.items():
        write_main_goldens(out / name, data, lines, rng)
    write_variant_goldens(out / "variants.jsonl", bases, lines)


if __name__ == "__main__":
    main()
