"""Merge patches (RFC 7386) on the two trained tokenizers: one for each pipeline that a model family uses, and for each
component whose options matter."""

GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3_PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
                  r"|\s+(?!\S)|\s+")
QWEN2_PATTERN = LLAMA3_PATTERN.replace(r"\p{N}{1,3}", r"\p{N}")
TIKTOKEN_PATTERN = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$"
                    r"|\s*[\r\n]|\s+(?!\S)|\s")
O200K_PATTERN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
BLOOM_PATTERN = r" ?[^(\s|[.,!?…。，、।۔،])]+"
DEEPSEEK3_PATTERNS = [
    r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"]
DEEPSEEK_CODER_PATTERNS = [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", r"\p{N}", r"\s+$"]


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def byte_level(use_regex, add_prefix_space=False):
    return {"type": "ByteLevel", "add_prefix_space": add_prefix_space, "trim_offsets": True, "use_regex": use_regex}


def sequence(*parts):
    return {"type": "Sequence", "pretokenizers": list(parts)}


def splits(*patterns):
    return sequence(*[split(p) for p in patterns], byte_level(False))


def normalizers(*parts):
    return {"type": "Sequence", "normalizers": list(parts)}


def metaspace(scheme, do_split):
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": do_split}


def decoder(*parts):
    return {"type": "Sequence", "decoders": list(parts)}


def replace(old, new, kind="String"):
    return {"type": "Replace", "pattern": {kind: old}, "content": new}


def strip(start, stop):
    return {"type": "Strip", "content": " ", "start": start, "stop": stop}


def added(next_id, existing, vocab):
    """Added tokens with every flag; `existing` are the file's own special tokens."""
    tokens = list(existing)
    for content, flags in [
            ("<mask>", {"lstrip": True, "special": True}),
            ("<left>", {"lstrip": True}),
            ("<right>", {"rstrip": True}),
            ("wordy", {"single_word": True}),
            ("river", {"single_word": True, "normalized": True}),
            ("<norm>", {"normalized": True}),
            ("Ä norm", {"normalized": True}),
            ("  ", {"normalized": True}),
            ("        ", {"normalized": False}),
            ("</s", {"lstrip": True, "rstrip": True}),
    ]:
        if content not in vocab:
            next_id += 1
        token = {"id": vocab.get(content, next_id - 1), "content": content, "single_word": False, "lstrip": False, "rstrip": False,
                 "normalized": False, "special": False}
        token.update(flags)
        tokens.append(token)
    return tokens


REPLACE_SPACE = replace(" ", "▁")
TO_SPACE = replace("▁", " ")
FALLBACK = [TO_SPACE, {"type": "ByteFallback"}, {"type": "Fuse"}]

VARIANTS = [
    ("gpt2", "byte_level", {"pre_tokenizer": byte_level(True), "model": {"ignore_merges": False}, "post_processor": None}),
    ("gpt2_prefix_space", "byte_level", {"pre_tokenizer": byte_level(True, True), "model": {"ignore_merges": False}}),
    ("neox", "byte_level", {"normalizer": {"type": "NFC"}, "pre_tokenizer": byte_level(True)}),
    ("qwen2", "byte_level", {"normalizer": {"type": "NFC"}, "pre_tokenizer": splits(QWEN2_PATTERN),
                             "model": {"ignore_merges": False}}),
    ("nfkc", "byte_level", {"normalizer": {"type": "NFKC"}}),
    ("nfd", "byte_level", {"normalizer": {"type": "NFD"}}),
    ("nfkd", "byte_level", {"normalizer": {"type": "NFKD"}}),
    ("tiktoken", "byte_level", {"pre_tokenizer": splits(TIKTOKEN_PATTERN)}),
    ("o200k", "byte_level", {"pre_tokenizer": splits(O200K_PATTERN)}),
    ("bloom", "byte_level", {"pre_tokenizer": splits(BLOOM_PATTERN)}),
    ("deepseek3", "byte_level", {"pre_tokenizer": splits(*DEEPSEEK3_PATTERNS)}),
    ("deepseek_coder", "byte_level", {"pre_tokenizer": splits(*DEEPSEEK_CODER_PATTERNS)}),
    ("starcoder", "byte_level", {"pre_tokenizer": sequence({"type": "Digits", "individual_digits": True},
                                                           byte_level(True))}),
    ("falcon", "byte_level", {"pre_tokenizer": sequence(
        {"type": "Punctuation", "behavior": "Contiguous"}, byte_level(True),
        {"type": "Digits", "individual_digits": False}, split("[0-9][0-9][0-9]"))}),
    ("regex_dialect", "byte_level", {"pre_tokenizer": splits(r"^\w+|\b\d{2}+|\h{3}?|[^\S\n]+|\W\B")}),
    ("behaviors", "byte_level", {"pre_tokenizer": sequence(
        split(r"\p{N}+", "MergedWithNext"), split("o", "MergedWithPrevious", kind="String"),
        split(r"[aeiou]", "Contiguous"), split(r"[^x]+", "Removed", invert=True), byte_level(True))}),
    ("whitespace_split", "byte_level", {"pre_tokenizer": sequence({"type": "WhitespaceSplit"}, byte_level(False, True))}),
    ("added_byte_level", "byte_level", {"added_tokens": "ADDED", "normalizer": {"type": "NFC"}}),
    ("no_decoder", "byte_level", {"decoder": None}),
    ("metaspace_first", "byte_fallback", {"normalizer": None, "pre_tokenizer": metaspace("first", False)}),
    ("metaspace_first_split", "byte_fallback", {"normalizer": None, "pre_tokenizer": metaspace("first", True),
                                                "decoder": metaspace("first", True)}),
    ("metaspace_always", "byte_fallback", {"normalizer": None, "pre_tokenizer": metaspace("always", True),
                                           "decoder": metaspace("always", True)}),
    ("metaspace_never", "byte_fallback", {"normalizer": None, "pre_tokenizer": metaspace("never", True),
                                          "decoder": metaspace("never", True)}),
    ("gemma", "byte_fallback", {"normalizer": REPLACE_SPACE,
                                "pre_tokenizer": split(" ", "MergedWithPrevious", kind="String"),
                                "decoder": decoder(*FALLBACK)}),
    ("added_byte_fallback", "byte_fallback", {"added_tokens": "ADDED"}),
    ("added_metaspace", "byte_fallback", {"added_tokens": "ADDED", "normalizer": None,
                                          "pre_tokenizer": metaspace("first", False)}),
    ("unk_fused", "byte_fallback", {"model": {"byte_fallback": False}}),
    ("unk_single", "byte_fallback", {"model": {"byte_fallback": False, "fuse_unk": False}}),
    ("unk_dropped", "byte_fallback", {"model": {"byte_fallback": False, "unk_token": None}}),
    ("ignore_merges", "byte_fallback", {"model": {"ignore_merges": True}, "pre_tokenizer": metaspace("always", True),
                                        "normalizer": None}),
    ("strip_and_regex", "byte_fallback", {"normalizer": normalizers(
        {"type": "Strip", "strip_left": True, "strip_right": True}, replace(r"\s+", " ", "Regex"),
        {"type": "NFKC"}, {"type": "Prepend", "prepend": "▁"}, REPLACE_SPACE)}),
    ("strip_left", "byte_fallback", {"normalizer": normalizers(
        {"type": "Strip", "strip_left": True, "strip_right": False}, REPLACE_SPACE)}),
    ("decode_strip_both", "byte_fallback", {"decoder": decoder(*FALLBACK, strip(2, 0))}),
    ("decode_replace_fused", "byte_fallback", {"decoder": decoder({"type": "ByteFallback"}, {"type": "Fuse"}, TO_SPACE,
                                                                  replace("th", "TH"), strip(1, 0))}),
    ("decode_replace_regex", "byte_fallback", {"decoder": decoder(*FALLBACK, replace(r" [a-m]+", "_", "Regex"))}),
    ("decode_strip_each", "byte_fallback", {"decoder": decoder(TO_SPACE, {"type": "ByteFallback"}, strip(1, 0),
                                                               {"type": "Fuse"})}),
]
