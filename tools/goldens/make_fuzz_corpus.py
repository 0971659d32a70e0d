#!/usr/bin/env python3
"""Cuts the goldens down to seeds for the fuzz targets: tests/fuzz/corpus/TARGET/good_*, each a few hundred bytes to a few KB.

usage: python3 tools/goldens/make_fuzz_corpus.py   (needs Python alone; twice gives the same bytes; leaves other files of the corpora)
"""
import base64
import copy
import json
import pathlib
import struct

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TEXT = ROOT / "coordinator/text/testdata"
GOLDENS = ROOT / "tests/goldens"
CORPUS = ROOT / "tests/fuzz/corpus"
SEPARATOR = b"\n%%\n"
FEW_TOKENS = 40
CONVERSATIONS = ("system_turns", "turns", "single")  # of the templates' goldens
SNIPPETS_A_FILE = 8
# Cases whose config says what no smaller one does are all of them; of model files one is enough.
CHECKPOINT_CASE = "llama_gqa"


def write(target, name, *files, kind="good"):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    parts = [f if isinstance(f, bytes) else f.encode() for f in files]
    (folder / f"{kind}_{name}").write_bytes(SEPARATOR.join(parts))


def dump(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


# ---- checkpoints ----

def safetensors(tensors, metadata=None):
    """`tensors`: name -> (dtype, shape, bytes)."""
    header, offset = {}, 0
    if metadata:
        header["__metadata__"] = metadata
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = dump(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(data for _, _, data in tensors.values())


def small_tensors(path, count):
    """The smallest tensors of a file, cut to two elements each."""
    raw = path.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:8 + size])
    header.pop("__metadata__", None)
    found = {}
    for name, entry in sorted(header.items(), key=lambda item: (item[1]["data_offsets"][1] - item[1]["data_offsets"][0], item[0]))[:count]:
        begin, end = entry["data_offsets"]
        width = (end - begin) // max(1, _product(entry["shape"]))
        found[name] = (entry["dtype"], [2], raw[8 + size + begin:8 + size + begin + 2 * width])
    return found


def _product(shape):
    result = 1
    for dim in shape:
        result *= dim
    return result


def make_checkpoints():
    tensors = small_tensors(GOLDENS / CHECKPOINT_CASE / "model.safetensors", 3)
    write("safetensors", "f32", safetensors(tensors, {"format": "pt"}))
    write("safetensors", "bf16", safetensors(small_tensors(GOLDENS / "llama_gqa_bf16/model.safetensors", 2)))
    write("safetensors", "empty", safetensors({}))
    kinds = {"a": ("I64", [], bytes(8)), "b": ("F4", [2, 3], bytes(3)), "c": ("BOOL", [0, 7], b""), "d": ("F8_E4M3", [1, 1, 1, 2], bytes(2)),
             "e": ("F6_E2M3", [4], bytes(3)), "f": ("C64", [1], bytes(8))}
    write("safetensors", "kinds", safetensors(kinds))
    names = list(tensors)
    first = safetensors({names[0]: tensors[names[0]]})
    second = safetensors({n: tensors[n] for n in names[1:]})
    weight_map = {n: "a.safetensors" if n == names[0] else "b.safetensors" for n in names}
    write("checkpoint", "sharded", dump({"metadata": {"total_size": 24}, "weight_map": weight_map}), first, second)
    write("checkpoint", "one_file", dump({"weight_map": {names[0]: "a.safetensors"}}), first, b"")
    write("checkpoint", "kinds", dump({"weight_map": {n: "b.safetensors" for n in kinds}}), b"", safetensors(kinds))


def make_configs():
    for path in sorted(GOLDENS.glob("*/config.json")):
        config = dump(json.loads(path.read_text()))
        generation = path.parent / "generation_config.json"
        write("config", path.parent.name, config, dump(json.loads(generation.read_text())) if generation.exists() else b"")


def make_quantized():
    """Of each case of quantised matrices one module, the config, the header and the data as parts of their own; a case of floats that
    no kernel reads."""
    folders = sorted(p for p in (GOLDENS / "checkpoints/quantized").iterdir() if p.is_dir())
    for folder in folders + [GOLDENS / "checkpoints/floats"]:
        raw = (folder / "model.safetensors").read_bytes()
        size = struct.unpack("<Q", raw[:8])[0]
        header = json.loads(raw[8:8 + size])
        header.pop("__metadata__", None)
        config = json.loads((folder / "config.json").read_text()).get("quantization_config", {})
        module = sorted(header)[0].split(".")[0] if config else ""
        kept, data = {}, b""
        for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            if not config or name.split(".")[0] == module:
                begin, end = entry["data_offsets"]
                kept[name] = {**entry, "data_offsets": [len(data), len(data) + end - begin]}
                data += raw[8 + size + begin:8 + size + end]
        write("quantized", folder.name, dump(config) if config else b"", dump(kept), data)


# ---- tokenizers ----

def byte_alphabet():
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in plain]
    return {**{b: chr(b) for b in plain}, **{b: chr(0x100 + i) for i, b in enumerate(others)}}


def as_pair(merge):
    return merge if isinstance(merge, list) else merge.split(" ")


def cut(tokenizer, keep, num_merges):
    """The tokenizer with `keep`, the tokens that its first merges need, and nothing else; ids from 0."""
    model = tokenizer["model"]
    merges = model["merges"][:num_merges]
    tokens = list(dict.fromkeys(list(keep) + [t for m in merges for t in (*as_pair(m), "".join(as_pair(m)))]))
    ids = {token: i for i, token in enumerate(tokens)}
    added = []
    for token in tokenizer["added_tokens"]:
        ids.setdefault(token["content"], len(ids))
        added.append({**token, "id": ids[token["content"]]})
    vocab = {token: ids[token] for token in tokens}
    result = {**copy.deepcopy(tokenizer), "added_tokens": added, "model": {**model, "vocab": vocab, "merges": merges}}
    _renumber(result["post_processor"], ids)
    return result


def cut_affixes(tokenizer, keep):
    """The tokenizer with the first tokens of its vocabulary, ids as they are, and the merges whose three tokens are among them."""
    model = tokenizer["model"]
    prefix = model.get("continuing_subword_prefix") or ""
    vocab = {t: model["vocab"][t] for t in keep}

    def joined(left, right):
        return left + (right[len(prefix):] if prefix and right.startswith(prefix) else right)
    merges = [m for m in map(as_pair, model["merges"]) if m[0] in vocab and m[1] in vocab and joined(*m) in vocab]
    added = [t for t in tokenizer["added_tokens"] if t["content"] in vocab]
    return {**tokenizer, "added_tokens": added, "model": {**model, "vocab": vocab, "merges": merges}}


def _renumber(post_processor, ids):
    if post_processor is None:
        return
    for processor in post_processor.get("processors", [post_processor]):
        for name, entry in processor.get("special_tokens", {}).items():
            entry["ids"] = [ids[name]]


def patched(value, patch):
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(value) if isinstance(value, dict) else {}
    for key, change in patch.items():
        if change is None:
            result[key] = None
        else:
            result[key] = patched(result.get(key), change)
    return result


def make_tokenizer_json():
    level = json.loads((TEXT / "byte_level/tokenizer.json").read_text())
    fallback = json.loads((TEXT / "byte_fallback/tokenizer.json").read_text())
    fallback_bytes = [f"<0x{b:02X}>" for b in range(256)]
    specials = [t["content"] for t in fallback["added_tokens"]]
    small = {"byte_level": cut(level, "Hello ,don't12Ġ", 12), "byte_fallback": cut(fallback, specials + list("▁Hello,d12é"), 12)}
    write("tokenizer_json", "byte_level", dump(cut(level, byte_alphabet().values(), 20)), dump({"tokenizer_class": "PreTrainedTokenizerFast"}))
    write("tokenizer_json", "byte_fallback", dump(cut(fallback, specials + fallback_bytes + ["▁", "H", "l", "é"], 20)),
          dump({"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "add_bos_token": True, "add_eos_token": False,
                "added_tokens_decoder": {"1": {"content": "<s>", "special": True, "lstrip": True}}}), "<s> hi\n")
    for line in (TEXT / "variants.jsonl").read_text().splitlines():
        variant = json.loads(line)
        patch = {k: v for k, v in variant["patch"].items() if k != "added_tokens"}
        write("tokenizer_json", variant["name"], dump(patched(small[variant["base"]], patch)))
    for kind in ("bpe_affixes", "bpe_suffix_bytes", "byte_normalizer"):
        tokenizer = json.loads((TEXT / "kinds" / kind / "tokenizer.json").read_text())
        keep = [t for t, i in sorted(tokenizer["model"]["vocab"].items(), key=lambda item: item[1])][:320]
        write("tokenizer_json", kind, dump(cut_affixes(tokenizer, keep)))
    for kind in ("word_level", "word_piece", "word_piece_cased"):
        words = json.loads((TEXT / "kinds" / kind / "tokenizer.json").read_text())
        words["model"]["vocab"] = {t: i for t, i in words["model"]["vocab"].items() if i < 4 * FEW_TOKENS}
        write("tokenizer_json", kind, dump(words))
    for kind in ("unigram_json", "unigram_json_bytes"):
        tokenizer = json.loads((TEXT / "kinds" / kind / "tokenizer.json").read_text())
        tokenizer["model"]["vocab"] = tokenizer["model"]["vocab"][:FEW_TOKENS]
        write("tokenizer_json", kind, dump(tokenizer))


def fields(message):
    """(number, bytes of the field with its key, payload) of each length-delimited field; the others with no payload."""
    at = 0
    while at < len(message):
        begin = at
        key, at = _varint(message, at)
        payload = b""
        if key & 7 == 2:
            size, at = _varint(message, at)
            payload = message[at:at + size]
            at += size
        elif key & 7 == 0:
            _, at = _varint(message, at)
        else:
            at += 4 if key & 7 == 5 else 8
        yield key >> 3, message[begin:at], payload


def _varint(message, at):
    value = shift = 0
    while True:
        value |= (message[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if message[at - 1] < 0x80:
            return value, at


def make_sentencepiece():
    for kind, count in (("sp_bpe", 259 + FEW_TOKENS), ("sp_bpe_unknown", FEW_TOKENS), ("sp_unigram_spaces", FEW_TOKENS),
                        ("sp_unigram_unknown", FEW_TOKENS)):
        raw = (TEXT / "kinds" / kind / "tokenizer.model").read_bytes()
        kept, pieces = [], 0
        for number, field, _ in fields(raw):
            pieces += number == 1
            if number != 1 or pieces <= count:
                kept.append(field)
        write("sentencepiece", kind, b"".join(kept))


def make_line_files():
    lines = [base64.b64encode(bytes([b])).decode() for b in range(256)]
    words = [base64.b64encode(w.encode()).decode() for w in ("he", "ll", "hell", "hello", " w", "é", "\U0001f600", "12")]
    tiktoken = "".join(f"{word} {i}\n" for i, word in enumerate(lines + words))
    write("tiktoken", "qwen", tiktoken)
    write("tiktoken", "qwen_config", tiktoken, dump({"tokenizer_class": "QWenTokenizer", "eos_token": "<|im_end|>"}), "hello é 12<|im_end|>")
    glm = {str(264 + i): {"content": c, "special": True} for i, c in enumerate(("<|endoftext|>", "[gMASK]", "<sop>", "<|user|>"))}
    write("tiktoken", "glm4", tiktoken, dump({"tokenizer_class": "ChatGLM4Tokenizer", "added_tokens_decoder": glm}), "[gMASK] hello")

    vocab = {c: i for i, c in enumerate(byte_alphabet().values())}
    merges = [("h", "e"), ("l", "l"), ("he", "ll"), ("hell", "o"), ("Ġ", "w")]
    for left, right in merges:
        vocab[left + right] = len(vocab)
    merge_text = "#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges)
    end = {"<|endoftext|>": len(vocab)}
    write("vocab_merges", "gpt2", dump(vocab), merge_text, dump({"tokenizer_class": "GPT2Tokenizer", "eos_token": "<|endoftext|>"}), dump(end))
    write("vocab_merges", "qwen2", dump(vocab), merge_text, dump({"tokenizer_class": "Qwen2Tokenizer"}), b"", "hello\n 123 don't")
    write("vocab_merges", "few", dump({"h": 0, "e": 1, "he": 2}), "h e\n", dump({"unk_token": {"content": "h"}, "add_prefix_space": True}))


def make_torch_files():
    for path in sorted((GOLDENS / "checkpoints/torch").glob("*.bin")):
        kind = "good" if path.stem.startswith("tensors") else "refused"
        write("torch_file", path.stem, path.read_bytes(), kind=kind)


# ---- chat templates ----

def make_chat_templates():
    folder = ROOT / "coordinator/text/jinja/testdata"
    conversations = json.loads((folder / "conversations.json").read_text())
    renders = {}  # template -> a conversation that it renders
    for golden in json.loads((folder / "goldens.json").read_text()):
        if "text" in golden and golden["conversation"] in CONVERSATIONS:
            renders.setdefault(golden["template"], golden["conversation"])
    for path in sorted((folder / "templates").iterdir()):
        if path.name in renders:
            write("chat_template", path.stem, path.read_bytes(), dump(conversations[renders[path.name]]))
    snippets = [s for s in json.loads((folder / "snippets.json").read_text()) if "text" in s and "variables" not in s]
    for i in range(0, len(snippets), SNIPPETS_A_FILE):
        write("chat_template", f"snippets_{i // SNIPPETS_A_FILE:02}", "\n".join(s["source"] for s in snippets[i:i + SNIPPETS_A_FILE]), "{}",
              kind="snippets")


def main():
    make_checkpoints()
    make_configs()
    make_quantized()
    make_tokenizer_json()
    make_sentencepiece()
    make_line_files()
    make_torch_files()
    make_chat_templates()
    total = sum(p.stat().st_size for p in CORPUS.rglob("*") if p.is_file())
    print(f"{total} bytes in {CORPUS.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
