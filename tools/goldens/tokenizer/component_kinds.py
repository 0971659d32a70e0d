"""Tokenizers from components that no family of ours needs and that some model directories have all the same: affixes in BPE, words as
tokens, a byte-level normaliser. make_kind_goldens.py writes them."""

import collections

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SIZE = 1200
NUM_WORDS = 1500
NUM_MERGES = 500


def merges_of(counts, prefix, suffix):
    """Characters with their affixes, and the merges of the commonest pairs of neighbours. The library's trainer numbers characters with
    affixes in the order of a hash table, another one in every run; this breaks ties by spelling."""
    words = {word: [(prefix if i else "") + c + (suffix if i == len(word) - 1 else "") for i, c in enumerate(word)] for word in counts}
    tokens, merges = sorted({s for symbols in words.values() for s in symbols}), []
    while len(merges) < NUM_MERGES:
        pairs = collections.Counter()
        for word, symbols in words.items():
            for pair in zip(symbols, symbols[1:]):
                pairs[pair] += counts[word]
        left, right = max(pairs, key=lambda p: (pairs[p], p))
        joined = left + right[len(prefix):]
        merges.append((left, right))
        tokens.append(joined)
        for word, symbols in words.items():
            i = 0
            while i + 1 < len(symbols):
                if symbols[i] == left and symbols[i + 1] == right:
                    symbols[i:i + 2] = [joined]
                i += 1
    return list(dict.fromkeys(tokens)), merges


def common_words(corpus, normalizer, splitter):
    counts = collections.Counter(w for text in corpus for w, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
    return {word: counts[word] for word in sorted(counts, key=lambda w: (-counts[w], w))[:NUM_WORDS]}


def add_specials(tokenizer, names):
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])


def bpe_affixes(corpus):
    """Both affixes, unknown characters; the post-processor that puts two kinds of tokens around a text."""
    normalizer, splitter = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    tokens, merges = merges_of(common_words(corpus, normalizer, splitter), "##", "</w>")
    vocab = {token: i for i, token in enumerate(["<s>", "<unk>", "</s>"] + tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, continuing_subword_prefix="##",
                                     end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.BPEDecoder(suffix="</w>")
    add_specials(tokenizer, ["<s>", "<unk>", "</s>"])
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return tokenizer


def bpe_suffix_bytes(corpus):
    """The suffix alone, with bytes for what is unknown: the suffix is a part of what is spelled in bytes."""
    splitter = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.FixedLength(7)])
    tokens, merges = merges_of(common_words(corpus, normalizers.Sequence([]), splitter), "", "</w>")
    vocab = {token: i for i, token in enumerate(["<unk>"] + [f"<0x{b:02X}>" for b in range(256)] + tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", byte_fallback=True, end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.BPEDecoder(suffix="</w>")])
    add_specials(tokenizer, ["<unk>"])
    return tokenizer


def word_level(corpus):
    normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.Strip()])
    splitter = pre_tokenizers.Sequence([pre_tokenizers.CharDelimiterSplit(" "), pre_tokenizers.FixedLength(3)])
    counts = collections.Counter(word for text in corpus for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
    words = sorted(counts, key=lambda w: (-counts[w], w))[:SIZE]
    names = ["[CLS]", "[SEP]", "[UNK]"]
    vocab = {word: i for i, word in enumerate(dict.fromkeys(names + words))}
    tokenizer = Tokenizer(models.WordLevel(vocab=vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = splitter
    add_specials(tokenizer, names)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 1), ("[CLS]", 0))
    return tokenizer


def byte_normalizer(corpus):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.ByteLevel()])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("Ġ?[^Ġ]+|Ġ+"), "isolated")
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(corpus, trainers.BpeTrainer(
        vocab_size=SIZE, show_progress=False, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    add_specials(tokenizer, ["<|eot_id|>"])
    return tokenizer


COMPONENT_KINDS = {"bpe_affixes": bpe_affixes, "bpe_suffix_bytes": bpe_suffix_bytes, "word_level": word_level,
                   "byte_normalizer": byte_normalizer}
