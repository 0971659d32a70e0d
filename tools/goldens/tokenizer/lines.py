"""Text for the tokenizer goldens: a corpus to train on and lines to encode, both made from a seeded generator."""

WORDS = (
    "the of and to in is that it was for on are as with his they at be this from have or by one had not but what all "
    "were when we there can an your which their said if do will each about how up out them then she many some so these "
    "would other into has more her two like him see time could no make than first been its who now people my made over "
    "did down only way find use may water long little very after words called just where most know get through back "
    "river stone garden window morning letter simple answer question machine language number picture mountain summer "
    "winter station market teacher engine signal carpet silver copper forest harbor lantern bridge journey whisper "
    "running walked thinking careful beautiful quickly carefully unhappiness internationalization don't can't we're "
    "they've I'll she'd it's TOKEN Stream ERROR HTTP2 snake_case camelCase return while function").split()

SCRIPTS = {
    "greek": "καλημέρα κόσμε αυτό είναι ένα μικρό κείμενο με λέξεις ΑΘΗΝΑ ποτάμι θάλασσα".split(),
    "cyrillic": "привет мир это небольшой текст со словами река море Москва ёлка Україна їжак".split(),
    "hebrew": "שלום עולם זה טקסט קטן עם מילים נהר ים".split(),
    "arabic": "مرحبا بالعالم هذا نص صغير مع كلمات نهر بحر ١٢٣ سَلَامٌ".split(),
    "devanagari": "नमस्ते दुनिया यह शब्दों के साथ एक छोटा पाठ है नदी समुद्र १२३।".split(),
    "thai": "สวัสดีชาวโลก นี่คือข้อความ เล็ก แม่น้ำ ทะเล ๑๒๓".split(),
    "han": "你好世界 这是一个小文本 河流 大海 繁體中文 龍門 一二三 。，、！？ 𠀀𠮷".split(),
    "japanese": "こんにちは 世界 カタカナ ひらがな 東京タワー ｶﾀｶﾅ がぎぐ 々〆".split(),
    "korean": "안녕하세요 세계 이것은 작은 글입니다 강 바다 ㄱㄴㄷ 가각힣".split(),
    "georgian": "გამარჯობა მსოფლიო ეს პატარა ტექსტია".split(),
    "amharic": "ሰላም ዓለም ይህ ትንሽ ጽሑፍ ነው".split(),
    "tamil": "வணக்கம் உலகம் இது சிறிய உரை".split(),
    "latin": "naïve café Ångström façade über größe ſt ŒUVRE ıstanbul İZMİR ﬁn ﬂow ĳ Ĳ ǅ ª º ½ ² Ⅷ ① Ⓐ".split(),
}

EMOJI = ["😀", "👍🏽", "👨‍👩‍👧‍👦", "🇩🇪", "❤️", "🏳️‍🌈", "1️⃣", "🤷🏿‍♀️", "☃", "✈︎", "🫠", "🧑‍🚀"]
MARKS = ["e\u0301", "A\u030a", "o\u0308\u0304", "\u1e9b\u0323", "q\u0307\u0323", "q\u0323\u0307", "\u0344", "\u212b",
         "\u2126", "\uac00\u11a8", "\u1100\u1161\u11a8", "\ufb01", "\u0958", "\u2adc", "\ufdfa", "\u03d4\u0301",
         "a\u0315\u0300\u05ae\u0062", "\u0041\u0345\u0301", "\u3099", "\uff21", "\u00c5\u0327"]
CONTROLS = ["\x00", "\x01", "\x07", "\x08", "\x0b", "\x0c", "\x1b", "\x1c", "\x1f", "\x7f", "\x80", "\x85", "\x9f",
            "\u00ad", "\u200b", "\u200c", "\u200d", "\u200e", "\u2028", "\u2029", "\u2060", "\ufeff", "\ufffd", "\uffff",
            "\ue000", "\U0010fffd", "\U000e0041"]
SPACES = [" ", "  ", "   ", "\t", "\n", "\r\n", "\r", "\u00a0", "\u1680", "\u180e", "\u2003", "\u200a", "\u202f", "\u205f",
          "\u3000", " \n", "\n ", "\n\n", " \t ", "\t\t", "    \n    ", "  \u3000 "]
PUNCTUATION = list("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") + ["...", "—", "«", "»", "“", "”", "‘", "’", "¿", "¡", "§", "°",
                                                          "€", "£", "→", "∑", "≠", "√", "''", "'S", "'ſ", "'LL", "'re", "--"]
SPECIAL = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<s>", "</s>", "<unk>", "<0x41>", "<mask>", "<left>",
           "<right>", "wordy", "<norm>", "Ġ", "▁", "▁▁", "Ċ", "<|", "|>", "<", "</s", "Ä norm"]
SPAN_RANGES = [(0x20, 0x7E), (0xA0, 0x24F), (0x250, 0x52F), (0x530, 0x10FF), (0x1200, 0x1FFF), (0x2000, 0x2BFF),
               (0x2E80, 0x33FF), (0x3400, 0x9FFF), (0xA000, 0xABFF), (0xF900, 0xFAFF), (0xFB00, 0xFDFF), (0xFE20, 0xFFEF),
               (0x10000, 0x103FF), (0x1D400, 0x1D7FF), (0x1F300, 0x1FAFF), (0x20000, 0x203FF)]


def _sentence(rng, count):
    words = [rng.choice(WORDS) for _ in range(count)]
    if rng.random() < 0.5:
        words[0] = words[0].capitalize()
    return " ".join(words) + rng.choice([".", ".", "!", "?", ",", ""])


def make_corpus(rng):
    """About 300 KB; every script occurs, most text is English-like."""
    corpus = []
    for _ in range(4500):
        corpus.append(_sentence(rng, rng.randrange(4, 16)))
    for words in SCRIPTS.values():
        for _ in range(60):
            corpus.append(" ".join(rng.choice(words) for _ in range(rng.randrange(2, 7))))
    for _ in range(300):
        corpus.append(str(rng.randrange(10**6)) + "  " + rng.choice(EMOJI) + "\n" + "    " + rng.choice(PUNCTUATION) * 2)
    rng.shuffle(corpus)
    return corpus


def _random_span(rng):
    low, high = rng.choice(SPAN_RANGES)
    return "".join(chr(rng.randrange(low, high + 1)) for _ in range(rng.randrange(1, 7)))


def _part(rng):
    kind = rng.randrange(12)
    if kind < 3:
        return _sentence(rng, rng.randrange(1, 6))
    if kind == 3:
        return rng.choice(rng.choice(list(SCRIPTS.values())))
    if kind == 4:
        return rng.choice(EMOJI) * rng.choice([1, 1, 1, 2])
    if kind == 5:
        return rng.choice(MARKS)
    if kind == 6:
        return rng.choice(CONTROLS)
    if kind == 7:
        return rng.choice(SPACES) * rng.choice([1, 1, 2, 3])
    if kind == 8:
        return rng.choice(PUNCTUATION) * rng.choice([1, 1, 2, 3])
    if kind == 9:
        return str(rng.randrange(10 ** rng.randrange(1, 12)))
    if kind == 10:
        return rng.choice(SPECIAL)
    return _random_span(rng)


def _assigned(text):
    """The engines know different versions of Unicode: characters newer than the oldest of them are no test."""
    import unicodedata
    return all(unicodedata.category(c) != "Cn" or 0xFDD0 <= ord(c) <= 0xFDEF or ord(c) & 0xFFFE == 0xFFFE for c in text)


def make_lines(rng):
    lines = ["", " ", "  ", "\n", "a", " a", "a ", "\t", "▁", "Hello world", "Hello  world ", " 's", "'s", "\r\n\r\n",
             "<s>", "<s> a", "a<s>b", "a </s> b", "  <s>  ", "ab" * 40, "a" * 100, " " * 200, "\n" * 50, " \n" * 30,
             "x" + " " * 97 + "y", "=" * 77, "1" * 50, "日本" * 30, "😀" * 20, "\u0301" * 20, "a" + "\u0301\u0323" * 12,
             "\t" * 33 + "x", "  " * 20 + "\n" + "  " * 21 + "x", "▁" * 9, " ▁ " * 5]
    lines += MARKS + CONTROLS + SPECIAL + EMOJI
    for words in SCRIPTS.values():
        lines.append(" ".join(words))
    for run in range(1, 40):
        lines.append("a" + " " * run + "b" + "\n" * (run % 4) + " " * run)
    while len(lines) < 1100:
        lines.append("".join(_part(rng) + rng.choice(["", " ", " "]) for _ in range(rng.randrange(2, 7))))
    while len(lines) < 1900:
        lines.append(" ".join(rng.choice(rng.choice(list(SCRIPTS.values()) + [WORDS])) for _ in range(rng.randrange(2, 8))))
    while len(lines) < 2400:
        lines.append(_sentence(rng, rng.randrange(2, 9)))
    return [line for line in lines if _assigned(line)]
