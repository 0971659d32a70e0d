"""Tokenizers from components that no family of ours needs and that some model directories have all the same: affixes in BPE, words as
tokens, a byte-level normaliser. make_kind_goldens.py writes them.

All are trained by the library's own trainers. The one for BPE numbers characters with affixes in the order of a hash table, another one in every
run: bpe_affixes, bpe_suffix_bytes and word_piece* were trained once; a new run gives other bytes in their folders, which agree with each other."""

import collections
import unicodedata

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SIZE = 1200
AFFIX_SIZE = 900
ALPHABET_SIZE = 120


def with_common_characters(corpus):
    """Rare characters are left to the unknown token, or to bytes."""
    counts = collections.Counter("".join(corpus))
    kept = set(sorted(counts, key=lambda c: (-counts[c], c))[:ALPHABET_SIZE])
    return ["".join(c for c in text if c in kept) for text in corpus]


def add_specials(tokenizer, names):
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])


def bpe_affixes(corpus):
    """Both affixes, unknown characters; the post-processor that puts two kinds of tokens around a text."""
    names = ["<s>", "<unk>", "</s>"]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, continuing_subword_prefix="##", end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(with_common_characters(corpus), trainers.BpeTrainer(
        vocab_size=AFFIX_SIZE, show_progress=False, special_tokens=names, continuing_subword_prefix="##", end_of_word_suffix="</w>"))
    tokenizer.decoder = decoders.BPEDecoder(suffix="</w>")
    add_specials(tokenizer, names)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return tokenizer


def bpe_suffix_bytes(corpus):
    """The suffix alone, with bytes for what is unknown: the suffix is a part of what is spelled in bytes."""
    trained = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, end_of_word_suffix="</w>"))
    trained.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.FixedLength(7)])
    byte_tokens = [f"<0x{b:02X}>" for b in range(256)]
    trained.train_from_iterator(with_common_characters(corpus), trainers.BpeTrainer(
        vocab_size=AFFIX_SIZE + 256, show_progress=False, special_tokens=["<unk>"] + byte_tokens, end_of_word_suffix="</w>"))
    # As special tokens, bytes would be found in texts: the same model again, without.
    tokenizer = Tokenizer(trained.model)
    tokenizer.pre_tokenizer = trained.pre_tokenizer
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.BPEDecoder(suffix="</w>")])
    add_specials(tokenizer, ["<unk>"])
    return tokenizer


def word_level(corpus):
    names = ["[CLS]", "[SEP]", "[UNK]"]
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.Strip()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.CharDelimiterSplit(" "), pre_tokenizers.FixedLength(3)])
    tokenizer.train_from_iterator(corpus, trainers.WordLevelTrainer(vocab_size=SIZE, show_progress=False, special_tokens=names))
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


def word_piece(corpus):
    """As encoders have it, and the language models that took over their vocabularies."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(with_common_characters(corpus), trainers.WordPieceTrainer(
        vocab_size=AFFIX_SIZE, show_progress=False, special_tokens=names))
    tokenizer.decoder = decoders.WordPiece()
    add_specials(tokenizer, names)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def word_piece_cased(corpus):
    """Accents go for themselves, long words are unknown, and decoding leaves spaces as they are."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>", max_input_chars_per_word=9))
    tokenizer.normalizer = normalizers.Sequence([
        normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=False),
        normalizers.NFD(), normalizers.StripAccents()])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(with_common_characters(corpus), trainers.WordPieceTrainer(
        vocab_size=AFFIX_SIZE, show_progress=False, special_tokens=["<unk>"], continuing_subword_prefix="##"))
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    add_specials(tokenizer, ["<unk>"])
    return tokenizer


def marks_agree(line):
    """The library's tables of marks are of an older Unicode: where that matters is no test."""
    normal = normalizers.NFD().normalize_str(line)
    if normal != unicodedata.normalize("NFD", line):
        return False
    bert = normalizers.BertNormalizer(clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False)
    marks = lambda kinds: "".join(c for c in normal if unicodedata.category(c) not in kinds)
    return bert.normalize_str(line) == marks(("Mn",)) and normalizers.StripAccents().normalize_str(normal) == marks(("Mn", "Mc", "Me"))


# Kinds with lines of their own: the rest of the lines, and more, up to as many as the others have.
OWN_LINES = {"word_piece": marks_agree, "word_piece_cased": marks_agree}

COMPONENT_KINDS = {"word_piece": word_piece, "word_piece_cased": word_piece_cased, "bpe_affixes": bpe_affixes, "bpe_suffix_bytes": bpe_suffix_bytes, "word_level": word_level,
                   "byte_normalizer": byte_normalizer}
