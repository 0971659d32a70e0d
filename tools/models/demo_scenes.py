"""Small scenes for the demo model's training text: somebody's own words, letters, weather, rooms and rhymes.

Invariants:
  C1. The text is a pure function of the random generator that is passed in.
"""

NAMES = "Anna Mia Lily Rosa Emma Clara Nora Tom Ben Sam Max Leo Jack Finn".split()
FAMILY = "mother father grandmother grandfather aunt uncle sister brother".split()
PLACES = [
    "a small village", "a big city", "a house by the sea", "an old farm", "a little town", "a house near the forest"
]
HOBBIES = [("read books", "reading"), ("swim in the lake", "swimming"), ("draw animals", "drawing"),
           ("play the flute", "music"), ("work in the garden", "plants"), ("bake bread", "baking"),
           ("look at the stars", "the stars"), ("climb trees", "climbing"), ("sing old songs", "singing"),
           ("build small boats", "boats")]
JOBS = "a teacher,a doctor,a sailor,a farmer,a baker,a pilot,a writer,a gardener,a carpenter".split(",")
NUMBERS = "six seven eight nine ten eleven twelve".split()
PETS = [("dog", "sleeps beside my bed"), ("cat", "likes to sit by the fire"), ("rabbit", "eats carrots from my hand"),
        ("goat", "follows me everywhere"), ("horse", "can run very fast"), ("parrot", "can say good morning")]
# weather, what follows from it, what people do
WEATHER = [
    ("It is raining today.", "The streets are wet, and the sky is grey.", "stay inside and read a book"),
    ("It is a sunny day.", "The sky is blue, and it is warm.", "go outside and play in the park"),
    ("It is very cold today.", "There is ice on the lake, and the wind is strong.",
     "put on a warm coat and drink hot tea"),
    ("It is a windy day.", "The clouds move fast, and the leaves fly through the air.", "take a kite to the hill"),
    ("It snowed last night.", "The roofs and the trees are white.", "make a snowman in front of the house"),
    ("It is a hot summer day.", "The dog sleeps in the shade, and the flowers need water.", "swim in the cool lake"),
    ("There is a storm tonight.", "The thunder is loud, and the lightning is bright.",
     "close the windows and light a lamp"),
]
ROOM_KINDS = [("kitchen", "smelled of fresh bread"), ("room", "was small but warm"), ("house", "was old but clean"),
              ("library", "was quiet and full of books"), ("workshop", "was full of tools")]
ROOM_THINGS = [
    "There was a round table by the window.", "A cat slept on the chair.", "An old clock hung on the wall.",
    "There was a fire in the corner.", "A lamp stood on the shelf.", "There were flowers on the table.",
    "A child sat on the floor and played with a wooden train.", "Through the window you could see the hills."
]
RHYMES = {
    "the sea": [
        "The sea is wide, the sea is deep,\nand all the little fish are asleep.",
        "The waves come in, the waves go out,\nthe birds fly high and play about.",
        "A ship goes by with sails of white,\nand it will travel through the night."
    ],
    "the night": [
        "The moon is bright, the night is long,\nthe wind is singing us a song.",
        "The stars look down on house and tree,\nthey shine on you, they shine on me.",
        "The owl is up, the birds are still,\na fox is running down the hill."
    ],
    "spring": [
        "The snow is gone, the grass is green,\nthe finest spring that I have seen.",
        "The bees are out, the days are warm,\nthe cows are happy on the farm.",
        "A flower opens by the wall,\nand there is sunlight for us all."
    ],
    "a cat": [
        "My little cat is soft and grey,\nshe sleeps through almost all the day.",
        "She has a bell, she has a bed,\nshe puts a paw upon my head.",
        "She likes the fire, she likes the sun,\nand in the evening she will run."
    ],
    "a friend": [
        "A friend is there when days are bad,\na friend is kind when you are sad.",
        "We walk together in the rain,\nand then we both walk home again.",
        "We share our bread, we share our play,\nand we will meet another day."
    ],
}


def _introduction(rng):
    name, friend = rng.sample(NAMES, 2)
    likes, subject = rng.choice(HOBBIES)
    pet, habit = rng.choice(PETS)
    lines = [
        f"My name is {name}.", f"I am {rng.choice(NUMBERS)} years old.",
        f"I live in {rng.choice(PLACES)} with my {rng.choice(FAMILY)}."
    ]
    more = [
        f"I like to {likes}.", f"My best friend is {friend}. We go to school together.", f"I have a {pet}. It {habit}.",
        f"When I grow up, I want to be {rng.choice(JOBS)}.",
        f"Every evening my {rng.choice(FAMILY)} tells me a story about {subject}."
    ]
    rng.shuffle(more)
    greeting = rng.choice(["Hello! ", "Hello. ", "", ""])
    return greeting + " ".join(lines + more[:rng.randrange(2, 5)])


def _letter(rng):
    name, friend = rng.sample(NAMES, 2)
    likes, _ = rng.choice(HOBBIES)
    first, second, plan = rng.choice(WEATHER)
    body = rng.choice([
        f"How are you? I am well. {first} {second} Tomorrow I want to {likes}. I hope that you can visit me soon.",
        f"Thank you for your letter. {first} My {rng.choice(FAMILY)} and I will {plan}. Please write to me again.",
        f"I have good news. My {rng.choice(FAMILY)} gave me a {rng.choice(PETS)[0]}. I am so happy! "
        "When will you come to see it?"
    ])
    return f"Dear {friend},\n\n{body}\n\nYour friend,\n{name}"


def _weather(rng):
    first, second, plan = rng.choice(WEATHER)
    name, friend = rng.sample(NAMES, 2)
    last = rng.choice([
        f"It is a good time to {plan}.", f"{name} and {friend} want to {plan}.", f"So {name} will {plan}.",
        f'"Let us {plan}," says {name}. "That is a good idea," says {friend}.'
    ])
    return f"{first} {second} {last}"


def _room(rng):
    kind, how = rng.choice(ROOM_KINDS)
    things = rng.sample(ROOM_THINGS, rng.randrange(2, 5))
    last = rng.choice(["It was a good place to rest.", "Everyone who came in felt at home.", "Nobody wanted to leave."])
    return " ".join([f"The {kind} {how}.", *things, last])


def _rhyme(rng):
    topic = rng.choice(sorted(RHYMES))
    head = rng.choice([f"Write a poem about {topic}.\n\n", f"A poem about {topic}\n\n", ""])
    return head + "\n".join(rng.sample(RHYMES[topic], rng.randrange(2, 4)))


# maker, weight
MAKERS = [(_introduction, 4), (_letter, 3), (_weather, 2), (_room, 2), (_rhyme, 1)]


def make_scene(rng):
    """Returns one short scene."""
    return rng.choices([m for m, _ in MAKERS], [w for _, w in MAKERS])[0](rng)
