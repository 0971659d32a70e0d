#!/usr/bin/env python3
"""Makes the goldens of tokenizers that are not a BPE tokenizer.json, in coordinator/text/testdata/kinds.

Each folder is a model directory whose tokenizer was trained here, by `sentencepiece`, by `tokenizers`, or for tiktoken
by turning a trained byte-level vocabulary into ranks. `hashes.txt` beside it holds one hash a line of `lines.jsonl` over
the ids and the decoded text that the library of that kind gives.

Usage, in a virtual environment outside the tree:
    pip install -r tools/goldens/tokenizer/requirements.txt
    python tools/goldens/tokenizer/make_kind_goldens.py coordinator/text/testdata/kinds [KIND]
Running it twice gives the same bytes, but for the kinds that component_kinds.py names. KIND: one of that file's alone, or chat.
"""

import base64
import io
import json
import os
import pathlib
import random
import sys
import tempfile
import unicodedata

import sentencepiece
import tiktoken
import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from component_kinds import COMPONENT_KINDS, OWN_LINES
from lines import make_corpus, make_lines
from make_tokenizer_goldens import line_hash, write_json_lines
from variants import LLAMA3_PATTERN, QWEN2_PATTERN

SEED = 20240918
NUM_LINES = 5000
VERSIONS = {"tokenizers": "0.23.3", "sentencepiece": "0.2.3", "tiktoken": "0.14.0"}

# Replacements of several characters by one, of one by several, by spaces and by nothing; "then" must win over "the".
RULES = [("\ufb01", "fi"), ("\ufb02", "fl"), ("\u212b", "\u00c5"), ("A\u030a", "\u00c5"), ("e\u0301", "\u00e9"), ("\u3000", " "),
         ("\t", " "), ("\u00a0", " "), ("\u200b", ""), ("\u2026", "..."), ("\uff21\uff22", "AB"), ("\uff21", "a"), ("\u00bd", " 1/2 "),
         ("\u2460", "1"), ("the", "THE"), ("then", "than"), ("\U0001f600", ":D"), ("\u0915\u094d", "K"), ("\x01", "")]


def same_normal_form(line):
    """`tokenizers` has the normal forms of an older Unicode than the others; where that matters is no test."""
    return normalizers.NFC().normalize_str(line) == unicodedata.normalize("NFC", line)


def write_rules(path):
    def code(text):
        return " ".join(f"{ord(c):X}" for c in text)
    path.write_text("".join(f"{code(a)}\t{code(b)}\n" for a, b in RULES), encoding="utf-8")


def train_sentencepiece(corpus, scratch, rules=None, **options):
    out = io.BytesIO()
    options = {"vocab_size": 1000, "character_coverage": 0.98, "num_threads": 1, "minloglevel": 2, "hard_vocab_limit": False, **options}
    if rules:
        write_rules(scratch)
        options["normalization_rule_tsv"] = str(scratch)
    sentences = [line.replace("\n", " ") for line in corpus]
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(sentences), model_writer=out, **options)
    return out.getvalue()


def sentencepiece_rows(model, lines):
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    for line in lines:
        ids = processor.encode(line)
        # The unknown piece and control pieces are special: left out of the text.
        shown = [i for i in ids if not processor.is_unknown(i) and not processor.is_control(i)]
        yield ids, processor.decode(shown)


def reference_rows(tokenizer, lines):
    for line in lines:
        ids = tokenizer.encode(line, add_special_tokens=True).ids
        yield ids, tokenizer.decode(ids, skip_special_tokens=True)


def write_kind(folder, files, rows):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    hashes = [line_hash(ids, text) for ids, text in rows]
    (folder / "hashes.txt").write_text("".join(hashes) + "\n", encoding="utf-8")
    print(f"{folder.name}: {len(hashes)} lines")


def write_sentencepiece_kinds(out, corpus, lines):
    # The model keeps this path, so it must be the same in every run.
    scratch = pathlib.Path("rules.tsv")
    symbols = ["<sep>", "wordy", "of the", "<mask>", "▁▁", "ab", "abab", "1️⃣"]
    kinds = {
        "sp_unigram": {"model_type": "unigram", "byte_fallback": True, "normalization_rule_name": "nmt_nfkc",
                       "user_defined_symbols": symbols, "control_symbols": ["<|eot_id|>"]},
        "sp_unigram_unknown": {"model_type": "unigram", "rules": True, "add_dummy_prefix": False},
        "sp_unigram_spaces": {"model_type": "unigram", "normalization_rule_name": "identity",
                              "remove_extra_whitespaces": False, "byte_fallback": True},
        "sp_bpe": {"model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity",
                   "remove_extra_whitespaces": False, "split_digits": True, "user_defined_symbols": symbols,
                   "control_symbols": ["<|eot_id|>"], "allow_whitespace_only_pieces": True},
        "sp_bpe_unknown": {"model_type": "bpe", "rules": True},
    }
    models_by_name = {}
    for name, options in kinds.items():
        model = train_sentencepiece(corpus, scratch, **options)
        models_by_name[name] = model
        config = json.dumps({"tokenizer_class": "LlamaTokenizer", "add_bos_token": False}) + "\n"
        write_kind(out / name, {"tokenizer.model": model, "tokenizer_config.json": config.encode()},
                   sentencepiece_rows(model, lines))
    scratch.unlink()
    return models_by_name


GLM_TOKENS = ["[MASK]", "[gMASK]", "[sMASK]", "sop", "eop"]
GLM_ROLES = ["<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"]
CONVERSATIONS = [
    [("user", "Hello world")],
    [("user", "What is 2 + 2?"), ("assistant", "It is 4."), ("user", "And 3 + 3?")],
    [("system", "You are brief."), ("user", "hello\nriver  stone"), ("assistant", "你好 world"), ("user", "τι κάνεις; 😀")],
    [("user", "sop eop [gMASK] soprano"), ("assistant", "</s> is text"), ("user", "<s>")],
    [("user", "  spaces around  "), ("assistant", "a"), ("user", "b"), ("assistant", "c"), ("user", "d\n\n")],
]


def chat_rows(name, processor, first):
    """The prompts of CONVERSATIONS as the models' own code builds them: ids, not texts, where it does so."""
    for turns in CONVERSATIONS:
        if name == "sp_chatglm3":
            ids = [first + 1, first + 3]
            for role, content in turns:
                ids += [first + 5 + GLM_ROLES.index(f"<|{role}|>")] + processor.encode("\n") + processor.encode(content)
            ids.append(first + 5 + GLM_ROLES.index("<|assistant|>"))
        elif name == "sp_chatglm2":
            text, number = "", 0
            for role, content in turns:
                number += role == "user"
                text += f"[Round {number}]\n\n问：{content}\n\n答：" if role == "user" else f"{content}\n\n"
            ids = [first + 1, first + 3] + processor.encode(text)
        else:
            names = {"user": ("<|User|>:", "<eoh>\n"), "assistant": ("<|Bot|>:", "<eoa>\n"), "system": ("<|System|>:", "\n")}
            text = "".join(names[role][0] + content + names[role][1] for role, content in turns) + "<|Bot|>:"
            ids = [processor.bos_id()] + processor.encode(text)
        yield {"messages": [{"role": r, "content": c} for r, c in turns], "ids": ids}


def write_chat_kinds(out, corpus, lines):
    """Families that keep tokens or formats in code. chat.jsonl holds conversations and the ids of their prompts."""
    kinds = {
        "sp_chatglm2": ({"tokenizer_class": "ChatGLMTokenizer", "name_or_path": "THUDM/chatglm2-6b"},
                        {"model_type": "chatglm", "_name_or_path": "THUDM/chatglm2-6b"}, []),
        "sp_chatglm3": ({"tokenizer_class": "ChatGLMTokenizer", "name_or_path": "THUDM/chatglm3-6b"},
                        {"model_type": "chatglm", "_name_or_path": "THUDM/chatglm3-6b"}, []),
        "sp_internlm": ({"tokenizer_class": "InternLMTokenizer"},
                        {"model_type": "internlm"}, ["<eoh>", "<eoa>"]),
    }
    for name, (tokenizer_config, config, symbols) in kinds.items():
        model = train_sentencepiece(corpus, None, model_type="bpe", byte_fallback=True, normalization_rule_name="identity",
                                    remove_extra_whitespaces=False, user_defined_symbols=symbols)
        processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        first = processor.get_piece_size()
        before = [processor.bos_id()] if symbols else [first + 1, first + 3]
        rows = ((before + ids, text) for ids, text in sentencepiece_rows(model, lines))
        files = {"tokenizer.model": model, "tokenizer_config.json": (json.dumps(tokenizer_config) + "\n").encode(),
                 "config.json": (json.dumps(config) + "\n").encode()}
        write_kind(out / name, files, rows)
        write_json_lines(out / name / "chat.jsonl", chat_rows(name, processor, first))


def charsmap_of(model):
    """The compiled rule inside a model."""
    from sentencepiece import sentencepiece_model_pb2
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model)
    return proto.normalizer_spec.precompiled_charsmap


def write_unigram_json(out, corpus, lines, charsmap):
    # The library's own trainer gives another vocabulary in every run, so sentencepiece's is taken.
    model = train_sentencepiece(corpus, None, model_type="unigram", normalization_rule_name="identity")
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    vocab = [[processor.id_to_piece(i), processor.get_score(i)] for i in range(processor.get_piece_size())]
    special = [{"id": i, "content": vocab[i][0], "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
                "special": True} for i in range(3)]
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    encoded = base64.b64encode(charsmap).decode()
    variants = {
        "unigram_json": {"normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Precompiled", "precompiled_charsmap": encoded},
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]}, "byte_fallback": False},
        "unigram_json_bytes": {"normalizer": None, "byte_fallback": True},
    }
    for name, variant in variants.items():
        pieces = list(vocab)
        if variant["byte_fallback"]:
            pieces += [[f"<0x{b:02X}>", 0.0] for b in range(256)]
        whole = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": special, "post_processor": None,
                 "normalizer": variant["normalizer"], "decoder": metaspace, "pre_tokenizer": metaspace}
        if variant["byte_fallback"]:
            whole["pre_tokenizer"] = dict(metaspace, split=False, prepend_scheme="first")
            whole["decoder"] = {"type": "Sequence", "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
                {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
        whole["model"] = {"type": "Unigram", "unk_id": 0, "vocab": pieces, "byte_fallback": variant["byte_fallback"]}
        text = json.dumps(whole, ensure_ascii=False, separators=(",", ":"))
        write_kind(out / name, {"tokenizer.json": (text + "\n").encode()}, reference_rows(Tokenizer.from_str(text), lines))


def write_byte_level_kinds(out, corpus, lines):
    base = Tokenizer(models.BPE())
    base.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    base.decoder = decoders.ByteLevel()
    base.train_from_iterator(corpus, trainers.BpeTrainer(
        vocab_size=1500, show_progress=False, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    model = json.loads(base.to_str())["model"]
    vocab = json.dumps(model["vocab"], ensure_ascii=False).encode()
    merges = ("#version: 0.2\n" + "".join(" ".join(m) + "\n" for m in model["merges"])).encode()
    size = len(model["vocab"])

    base.add_special_tokens([AddedToken("<|eot_id|>", special=True, normalized=False)])
    config = {"tokenizer_class": "GPT2Tokenizer", "eos_token": "<|eot_id|>"}
    files = {"vocab.json": vocab, "merges.txt": merges, "added_tokens.json": json.dumps({"<|eot_id|>": size}).encode(),
             "tokenizer_config.json": json.dumps(config).encode()}
    write_kind(out / "vocab_merges", files, reference_rows(base, lines))

    qwen2 = Tokenizer(models.BPE(vocab=model["vocab"], merges=[tuple(m) for m in model["merges"]]))
    qwen2.normalizer = normalizers.NFC()
    qwen2.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(QWEN2_PATTERN), "isolated", False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    qwen2.decoder = decoders.ByteLevel()
    config = {"tokenizer_class": "Qwen2Tokenizer"}
    write_kind(out / "vocab_merges_qwen2",
               {"vocab.json": vocab, "merges.txt": merges, "tokenizer_config.json": json.dumps(config).encode()},
               reference_rows(qwen2, lines))
    write_tiktoken_kinds(out, model["vocab"], lines)


def unmap(token):
    """The bytes of a token of the byte-level alphabet."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {chr(b): b for b in plain}
    table.update({chr(0x100 + i): b for i, b in enumerate(b for b in range(256) if b not in set(plain))})
    return bytes(table[c] for c in token)


def write_tiktoken_kinds(out, vocab, lines):
    ranks = {unmap(token): rank for token, rank in vocab.items()}
    text = "".join(f"{base64.b64encode(t).decode()} {r}\n" for t, r in sorted(ranks.items(), key=lambda x: x[1])).encode()

    def rows(pattern, special, prefix, normal_form):
        encoding = tiktoken.Encoding("golden", pat_str=pattern, mergeable_ranks=ranks, special_tokens=special)
        for line in lines:
            if normal_form:
                line = unicodedata.normalize(normal_form, line)
            ids = encoding.encode(line, allowed_special="all", disallowed_special=())
            shown = [i for i in ids if i < len(ranks)]
            yield [special[p] for p in prefix] + ids, encoding.decode(shown, errors="replace")

    names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"] + [f"<|extra_{i}|>" for i in range(205)]
    special = {name: len(ranks) + i for i, name in enumerate(names)}
    write_kind(out / "tiktoken_qwen", {"qwen.tiktoken": text}, rows(QWEN2_PATTERN, special, [], "NFC"))

    special = {name: len(ranks) + i for i, name in enumerate(["<|endoftext|>", "[MASK]", "[gMASK]", "<sop>", "<|eot_id|>"])}
    added = {str(i): {"content": name, "special": True, "normalized": False} for name, i in special.items()}
    config = {"tokenizer_class": "ChatGLM4Tokenizer", "added_tokens_decoder": added, "eos_token": "<|endoftext|>"}
    write_kind(out / "tiktoken_glm4", {"tokenizer.model": text, "tokenizer_config.json": json.dumps(config).encode()},
               rows(LLAMA3_PATTERN, special, ["[gMASK]", "<sop>"], None))


def lines_where(agree, lines):
    rng = random.Random(SEED + 1)
    found = [line for line in lines if agree(line)]
    while len(found) < NUM_LINES:
        found += [line for line in make_lines(rng) if same_normal_form(line) and agree(line)]
    return found[:NUM_LINES]


def write_component_kinds(out, corpus, all_lines, kinds):
    for name in kinds:
        lines = all_lines
        if name in OWN_LINES:
            lines = lines_where(OWN_LINES[name], all_lines)
            (out / name).mkdir(exist_ok=True)
            write_json_lines(out / name / "lines.jsonl", lines)
        make = COMPONENT_KINDS[name]
        tokenizer = make(corpus)
        text = json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, separators=(",", ":")) + "\n"
        write_kind(out / name, {"tokenizer.json": text.encode()}, reference_rows(tokenizer, lines))


def main():
    for module in (tokenizers, sentencepiece, tiktoken):
        if module.__version__ != VERSIONS[module.__name__]:
            sys.exit(f"needs {module.__name__} {VERSIONS[module.__name__]}, found {module.__version__}")
    out = pathlib.Path(sys.argv[1]).absolute()
    out.mkdir(parents=True, exist_ok=True)
    rng = random.Random(SEED)
    corpus = make_corpus(rng)
    lines = []
    while len(lines) < NUM_LINES:
        lines += [line for line in make_lines(rng) if same_normal_form(line)]
    lines = lines[:NUM_LINES]
    if len(sys.argv) > 2:
        write_component_kinds(out, corpus, lines, [kind for kind in sys.argv[2:] if kind in COMPONENT_KINDS])
        if "chat" in sys.argv[2:]:
            write_chat_kinds(out, corpus, lines)
        return
    write_json_lines(out / "lines.jsonl", lines)
    os.chdir(tempfile.mkdtemp())
    write_chat_kinds(out, corpus, lines)
    trained = write_sentencepiece_kinds(out, corpus, lines)
    write_unigram_json(out, corpus, lines, charsmap_of(trained["sp_unigram_unknown"]))
    write_byte_level_kinds(out, corpus, lines)
    write_component_kinds(out, corpus, lines, COMPONENT_KINDS)


if __name__ == "__main__":
    main()
