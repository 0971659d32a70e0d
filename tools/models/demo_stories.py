"""Stories for the demo model's training text: the plots of demo_plots.txt, filled in consistently.

A plot is a list of steps, a step is a list of paraphrases, and a paraphrase names slots in braces. One story draws its
slots once (hero, friend, place, thing, ...), so that names, pronouns, places and things stay the same from the first
line to the last, and every later step is a consequence of an earlier one.

Invariants:
  S1. The text is a pure function of the random generator that is passed in.
  S2. A slot that stands in a template stands in the Slots of its plot (a missing one raises KeyError).
"""

import pathlib

GIRLS = "Anna Mia Lily Rosa Emma Clara Nora Ella Sara Ruth Ivy Kate".split()
BOYS = "Tom Ben Sam Max Leo Jack Finn Paul Oscar Adam Noah Will".split()
ELDERS = [("Mrs. Brown", "she"), ("Mr. Green", "he"), ("Mrs. Hill", "she"), ("Mr. Stone", "he"), ("Mrs. Lake", "she"),
          ("Mr. Wood", "he")]
FAMILY = [("mother", "she"), ("father", "he"), ("grandmother", "she"), ("grandfather", "he"), ("aunt", "she"),
          ("uncle", "he")]
PRONOUNS = {"he": ("him", "his"), "she": ("her", "her")}
COLOURS = "red blue green yellow white brown".split()
TOYS = "ball kite doll drum boat hat scarf book whistle lantern".split()
PETS = ["cat", "dog", "rabbit", "goat", "hen"]
WILD = [("bird", "nest", "fly"), ("fox", "den", "run"), ("rabbit", "burrow", "hop"),
        ("hedgehog", "pile of leaves", "walk"), ("duck", "pond", "swim"), ("squirrel", "oak tree", "climb")]
FOODS = [("some bread", "flour"), ("an apple pie", "sugar"), ("some pancakes", "milk"), ("a honey cake", "honey"),
         ("some cookies", "butter"), ("a plum cake", "sugar")]
PLANTS = [("sunflower", "yellow flower"), ("tomato plant", "red tomato"), ("bean plant", "green bean"),
          ("rose bush", "pink rose"), ("pumpkin vine", "orange pumpkin"), ("strawberry plant", "sweet strawberry")]
SKILLS = [("swim", "the lake", "sank", "kicked harder"), ("ride a bicycle", "the lane", "fell", "looked ahead"),
          ("skate", "the frozen pond", "slipped", "bent both knees"),
          ("whistle", "the garden", "made no sound", "blew more softly"),
          ("climb a rope", "the barn", "slid down", "held on with both feet"),
          ("play the flute", "the music room", "made a squeak", "breathed slowly")]
OUTDOOR = [("the park", ["under the bench", "behind the fountain", "beside the gate", "near the swings"]),
           ("the garden", ["under the apple tree", "behind the shed", "beside the well", "between the roses"]),
           ("the beach", ["under the old boat", "behind the rocks", "beside the pier", "in the dry sand"]),
           ("the farm", ["under the cart", "behind the barn", "beside the hay", "near the pig pen"]),
           ("the forest", ["under a fern", "behind a fallen log", "beside the stream", "near the tall pine"])]
SUNNY = [
    "One sunny morning", "One bright day", "On a warm spring day", "One fine summer morning", "On Saturday morning"
]
FEELINGS = [("sad", "happy"), ("worried", "glad"), ("upset", "cheerful")]
STRANGERS = [("man", "he"), ("woman", "she"), ("farmer", "he"), ("sailor", "he"), ("baker", "he"), ("girl", "she"),
             ("boy", "he"), ("teacher", "she"), ("shepherd", "he"), ("tailor", "he"), ("nurse", "she")]
ERRANDS = [("the market", "to buy some bread"), ("the market", "to sell some eggs"), ("the river", "to get some water"),
           ("the river", "to catch a fish"), ("the forest", "to look for berries"), ("the forest", "to gather wood"),
           ("the mill", "to buy some flour"), ("the hill", "to look at the sea"), ("the town", "to visit a friend"),
           ("the castle", "to speak to the king")]
NEEDS = [("hungry", "gave {him6} half of {his5} bread"), ("thirsty", "gave {him6} some water"),
         ("cold", "gave {him6} {his5} warm coat"), ("lost", "showed {him6} the right way"),
         ("tired", "carried {his6} heavy bag"), ("sad", "told {him6} a funny story")]
GIFTS = [("a small key", "used the key to open an old box. It was full of silver coins"),
         ("a gold coin", "bought a young cow with the coin. It gave milk every day"),
         ("an old map", "followed the map to a deep well with the best water in the land"),
         ("a handful of seeds", "planted the seeds. In summer there were flowers all around the house"),
         ("a wooden flute", "played the flute, and people came from far away to listen"),
         ("a little lamp", "lit the lamp, and the dark road was as bright as day")]
WISHES = [("a big pear", "too high in the tree", "climbed up and shook the branch"),
          ("a large pumpkin", "too heavy to carry", "pushed it from behind"),
          ("a basket of apples", "tied to a branch with a rope", "opened the knot in the rope"),
          ("a pot of honey", "under a heavy stone", "put a stick under the stone")]
OPENINGS = [
    ["Once upon a time there was a {child} named {name}.", "{He} lived in a small village by the river."],
    ["Once upon a time there was a {child} named {name}.", "{He} lived with {his} {elder} in a little house."],
    ["There was once a {child} named {name}.", "{He} had a good friend named {friend}."],
]
REQUESTS = ["Tell me a story.", "Please tell me a story.", "Tell me a story about a {child}."]
OPENING_SHARE, TWO_PARAGRAPHS_SHARE, REQUEST_SHARE = 0.3, 0.6, 0.08


class Slots(dict):
    """Slot values of one story; a key that starts with a capital gives the value with a capital."""

    def __missing__(self, key):
        lower = key[0].lower() + key[1:]
        if lower == key or lower not in self:
            raise KeyError(key)
        value = self[lower]
        return value[0].upper() + value[1:]


def _people(rng, s):
    girl = rng.random() < 0.5
    s["name"] = rng.choice(GIRLS if girl else BOYS)
    s["child"] = "little girl" if girl else "little boy"
    s["himself"] = "herself" if girl else "himself"
    girl2 = rng.random() < 0.5
    s["friend"] = rng.choice([n for n in (GIRLS if girl2 else BOYS) if n != s["name"]])
    s["elderly"], third = rng.choice(ELDERS)
    s["elders_house"] = s["elderly"] + "'s house"
    s["elder"], fourth = rng.choice(FAMILY)
    for suffix, he in (("", "she" if girl else "he"), ("2", "she" if girl2 else "he"), ("3", third), ("4", fourth)):
        s["he" + suffix], (s["him" + suffix], s["his" + suffix]) = he, PRONOUNS[he]


def _things(rng, s):
    s["colour"], s["toy"], s["sunny"] = rng.choice(COLOURS), rng.choice(TOYS), rng.choice(SUNNY)
    s["place"], spots = rng.choice(OUTDOOR)
    s["spot1"], s["spot2"], s["spot3"] = rng.sample(spots, 3)
    s["bad"], s["good"] = rng.choice(FEELINGS)
    s["pet"] = rng.choice(PETS)
    s["wild"], s["home"], s["move"] = rng.choice(WILD)
    s["food"], s["ingredient"] = rng.choice(FOODS)
    s["plant"], s["fruit"] = rng.choice(PLANTS)
    s["skill"], s["where"], s["failed"], s["trick"] = rng.choice(SKILLS)
    s["broken"] = rng.choice(["fence", "gate", "chair", "door", "window"])
    s["fragile"] = rng.choice(["vase", "cup", "plate", "lamp", "bowl"])
    s["noise_place"], s["noise_cause"] = rng.choice([("the kitchen", "the cat, which was playing with a spoon"),
                                                     ("the window", "a branch that tapped on the glass"),
                                                     ("the hall", "the dog, which was dreaming"),
                                                     ("the attic", "a small mouse with a nut"),
                                                     ("the door", "the wind, which had blown it open")])
    s["vehicle"], s["blocker"] = rng.choice([("train", "fallen tree"), ("bus", "herd of sheep"), ("train", "cow"),
                                             ("bus", "pile of stones"), ("train", "broken cart")])
    s["small"], s["freed"] = rng.choice([("mouse", "bit the ropes with its sharp teeth"),
                                         ("beaver", "cut the wood with its strong teeth"),
                                         ("mole", "dug away the soil with its little paws")])
    s["big"] = rng.choice(["lion", "bear", "wolf", "deer", "horse"])
    s["trap"] = {"mouse": "net", "beaver": "trap of branches", "mole": "deep hole"}[s["small"]]


def _strangers(rng, s):
    """The people and animals without a name: an errand, a ruler, a clever animal."""
    noun, he = rng.choice(STRANGERS)
    other, other_he = rng.choice([p for p in STRANGERS if p[0] != noun])
    s["person"], s["other"] = rng.choice(["old", "young", "poor", "kind", "brave"]) + " " + noun, "little " + other
    if other not in ("girl", "boy"):
        s["other"] = rng.choice(["old", "poor"]) + " " + other
    s["ruler"], ruler_he = rng.choice([("king", "he"), ("queen", "she")])
    for suffix, word in (("5", he), ("6", other_he), ("7", ruler_he)):
        s["he" + suffix], (s["him" + suffix], s["his" + suffix]) = word, PRONOUNS[word]
    s["worker"] = rng.choice(["farmer", "baker", "gardener", "fisherman", "carpenter"])
    s["walked"] = rng.choice(["walked", "walked slowly", "went", "ran quickly"])
    s["daytime"] = rng.choice(["day", "morning", "afternoon", "evening"])
    s["errand_place"], s["purpose"] = rng.choice(ERRANDS)
    s["road"] = rng.choice(["wet and muddy", "hot and dry", "dark and quiet", "full of stones"])
    s["need"], gave = rng.choice(NEEDS)
    s["gave"] = gave.format_map(s)
    s["gift"], s["gift_use"] = rng.choice(GIFTS)
    s["animal"] = rng.choice(["bear", "fox", "goat", "mouse", "monkey"])
    s["helper"] = rng.choice(["rabbit", "squirrel", "frog", "hen", "duck"])
    s["animal_place"] = rng.choice(["the garden", "the farm", "the old mill", "the river", "the village"])
    s["hungry"] = rng.choice(["hungry", "very hungry"])
    s["wish_thing"], s["too"], s["trick2"] = rng.choice(WISHES)
    for key in ("person", "other", "animal"):
        article = "an" if s[key][0] in "aeiou" else "a"
        s["a_" + key] = s["an_" + key] = article + " " + s[key]


def load_plots(path=pathlib.Path(__file__).with_name("demo_plots.txt")):
    """Reads plots: `# title` starts one, an empty line ends a step, every other line is a paraphrase of the step."""
    plots = []
    for block in path.read_text().split("\n\n"):
        lines = block.strip().splitlines()
        if lines and lines[0].startswith("# "):
            plots.append([])
            lines = lines[1:]
        if lines:
            plots[-1].append(lines)
    return plots


PLOTS = load_plots()


def make_story(rng):
    """Returns one story of one or two paragraphs; the plots give tens of millions of different ones."""
    slots = Slots()
    _people(rng, slots)
    _things(rng, slots)
    _strangers(rng, slots)
    sentences = [rng.choice(step).format_map(slots) for step in rng.choice(PLOTS)]
    cut = rng.randrange(2, len(sentences) - 2)
    if rng.random() < OPENING_SHARE and slots["name"] in sentences[0] and "Once" not in sentences[0]:
        sentences[:0] = [part.format_map(slots) for part in rng.choice(OPENINGS)]
    text = " ".join(sentences)
    if rng.random() < TWO_PARAGRAPHS_SHARE:
        text = " ".join(sentences[:cut]) + "\n\n" + " ".join(sentences[cut:])
    if rng.random() < REQUEST_SHARE:
        text = rng.choice(REQUESTS).format_map(slots) + "\n\n" + text
    return text
