"""Five hundred texts of every kind that clients send."""

import random

SCRIPTS = [
    "The quick brown fox jumps over the lazy dog", "Быстрая коричневая лиса прыгает", "Η γρήγορη καφέ αλεπού",
    "敏捷的棕色狐狸跳过了懒狗", "素早い茶色の狐がのろまな犬を飛び越える", "빠른 갈색 여우가 게으른 개를 뛰어넘는다",
    "الثعلب البني السريع يقفز", "השועל החום המהיר קופץ", "तेज़ भूरी लोमड़ी कूदती है", "দ্রুত বাদামী শিয়াল লাফ দেয়",
    "விரைவான பழுப்பு நரி", "త్వరిత గోధుమ నక్క", "സമർത്ഥനായ തവിട്ടു കുറുക്കൻ", "ವೇಗದ ಕಂದು ನರಿ", "ઝડપી ભૂરા શિયાળ",
    "ไวจิ้งจอกสีน้ำตาล", "ໝາຈອກສີນ້ຳຕານ", "სწრაფი ყავისფერი მელა", "Արագ շագանակագույն աղվեսը", "ፈጣን ቡናማ ቀበሮ",
]  # fmt: skip
ODD = [
    "", " ", "\n\t\r", "\x00", "\x00\x01\x02 bell\x07", "a\u200db\u200cc\ufeff", "\u202eright to left\u202c", "👩‍👩‍👧‍👦🏳️‍🌈🇺🇳", "e\u0301" * 50,
    "Z\u0300\u0301\u0302\u0303" * 30, "[CLS] [SEP] [PAD] [MASK]", "<pad></s><unk>", "🙂" * 300, "x" * 3000, "ﬁ ﬂ Ǆ ß İ ı", "١٢٣ ⅷ ²",
]  # fmt: skip
WORDS = [
    "wing",
    "flow",
    "pressure",
    "heat",
    "model",
    "boundary",
    "layer",
    "theory",
    "speed",
    "body",
    "shock",
    "plate",
    "surface",
    "results",
    "method",
    "number",
]


def five_hundred(seed: int = 7) -> list[str]:
    """Distinct lengths from none to five thousand words, in a mixed order."""
    dice = random.Random(seed)
    texts = [*ODD, *SCRIPTS, *WORDS, " ".join(dice.choices(WORDS, k=5000))]
    while len(texts) < 500:
        count = min(300, int(dice.paretovariate(1.1) * 4))
        language = dice.choice(SCRIPTS).split()
        texts.append(" ".join(dice.choices(WORDS + language, k=count)) + f" {len(texts)}")
    dice.shuffle(texts)
    return texts
