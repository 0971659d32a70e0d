"""Facts, questions, instructions and talks for the demo model's training text.

Every fact stands once, in a table; the functions below say it in different orders and words, as statements or as
questions with answers. Only simple facts that every child's book agrees on stand here.

Invariants:
  F1. The text is a pure function of the random generator that is passed in.
"""

# name, kind, home, food, what it does, young (None: not told), number of legs
ANIMALS = [
    ("cow", "farm animal", "on a farm", "grass", "gives us milk", "calf", "four"),
    ("sheep", "farm animal", "on a farm", "grass", "gives us wool", "lamb", "four"),
    ("hen", "bird", "on a farm", "seeds and worms", "lays eggs", "chick", "two"),
    ("horse", "farm animal", "in a stable", "hay and grass", "can run fast and pull a cart", "foal", "four"),
    ("pig", "farm animal", "on a farm", "almost anything", "likes to roll in the mud", "piglet", "four"),
    ("goat", "farm animal", "on a farm", "grass and leaves", "can climb steep hills", "kid", "four"),
    ("dog", "pet", "in a house with people", "meat", "guards the house and likes to play", "puppy", "four"),
    ("cat", "pet", "in a house with people", "meat and fish", "catches mice and sleeps a lot", "kitten", "four"),
    ("rabbit", "small animal", "in a burrow", "grass and carrots", "has long ears and can hop", None, "four"),
    ("duck", "bird", "near water", "plants and small fish", "can swim and fly", "duckling", "two"),
    ("owl", "bird", "in a tree", "mice", "hunts at night and sees well in the dark", "chick", "two"),
    ("bee", "insect", "in a hive", "nectar from flowers", "makes honey", None, "six"),
    ("ant", "insect", "in a nest under the ground", "seeds and sweet things", "can carry heavy loads", None, "six"),
    ("butterfly", "insect", "in fields and gardens", "nectar from flowers", "has four colourful wings", "caterpillar",
     "six"),
    ("spider", "small animal", "in a web", "insects", "makes a web to catch its food", None, "eight"),
    ("frog", "small animal", "in a pond", "insects", "can jump far and swim well", "tadpole", "four"),
    ("lion", "wild animal", "in Africa", "meat", "hunts with its family and can roar", "cub", "four"),
    ("elephant", "wild animal", "in Africa and Asia", "grass and leaves", "drinks with its long trunk", "calf", "four"),
    ("bear", "wild animal", "in the forest", "berries and fish", "sleeps for most of the winter", "cub", "four"),
    ("wolf", "wild animal", "in the forest", "meat", "lives in a group called a pack", "cub", "four"),
    ("fox", "wild animal", "in a den", "mice and berries", "has a red coat and a long tail", "cub", "four"),
    ("penguin", "bird", "in cold places near the sea", "fish", "can swim but cannot fly", "chick", "two"),
    ("camel", "animal", "in the desert", "dry plants", "can live for many days without water", "calf", "four"),
    ("monkey", "wild animal", "in warm forests", "fruit", "can climb trees with its hands and feet", None, "two"),
]

# name, where, what for
TOOLS = [
    ("hammer", "in a workshop", "to drive nails into wood"),
    ("saw", "in a workshop", "to cut wood"),
    ("knife", "in the kitchen", "to cut bread and vegetables"),
    ("spoon", "in the kitchen", "to eat soup"),
    ("broom", "in the hall", "to sweep the floor"),
    ("needle", "in a sewing box", "to sew clothes"),
    ("clock", "on the wall", "to tell the time"),
    ("map", "in a car or a bag", "to find the way"),
    ("lamp", "on a table", "to make light in the dark"),
    ("umbrella", "near the door", "to stay dry in the rain"),
    ("key", "in a pocket", "to open a locked door"),
    ("ladder", "in a barn", "to reach high places"),
    ("pen", "on a desk", "to write letters"),
    ("pot", "in the kitchen", "to cook food"),
    ("bucket", "near the well", "to carry water"),
    ("telescope", "on a hill at night", "to look at the stars"),
]

# name, place, what they do
JOBS = [
    ("teacher", "in a school", "helps children to learn"),
    ("doctor", "in a hospital", "helps people who are sick"),
    ("nurse", "in a hospital", "takes care of sick people"),
    ("farmer", "on a farm", "grows food and keeps animals"),
    ("baker", "in a bakery", "makes bread and cakes"),
    ("cook", "in a kitchen", "makes meals"),
    ("sailor", "on a ship", "travels over the sea"),
    ("pilot", "in an airplane", "flies people from city to city"),
    ("carpenter", "in a workshop", "makes tables and chairs from wood"),
    ("fisherman", "on a boat", "catches fish"),
    ("firefighter", "at a fire station", "puts out fires and saves people"),
    ("tailor", "in a small shop", "makes clothes"),
    ("writer", "at a desk", "writes books and stories"),
    ("gardener", "in a garden", "takes care of plants"),
]

CAPITALS = [
    ("France", "Paris"),
    ("Germany", "Berlin"),
    ("Italy", "Rome"),
    ("Spain", "Madrid"),
    ("Japan", "Tokyo"),
    ("China", "Beijing"),
    ("Egypt", "Cairo"),
    ("Greece", "Athens"),
    ("Norway", "Oslo"),
    ("Russia", "Moscow"),
    ("England", "London"),
    ("Austria", "Vienna"),
    ("Poland", "Warsaw"),
    ("Portugal", "Lisbon"),
    ("Ireland", "Dublin"),
    ("Canada", "Ottawa"),
]

OPPOSITES = [
    ("hot", "cold"),
    ("big", "small"),
    ("tall", "short"),
    ("fast", "slow"),
    ("day", "night"),
    ("light", "dark"),
    ("old", "young"),
    ("happy", "sad"),
    ("hard", "soft"),
    ("wet", "dry"),
    ("open", "closed"),
    ("full", "empty"),
    ("early", "late"),
    ("up", "down"),
    ("rich", "poor"),
    ("strong", "weak"),
    ("loud", "quiet"),
    ("near", "far"),
]

# question, answer; statements use the answer alone
WHY = [
    ("Why is the sky blue?", "The sky is blue because the air scatters blue light more than red light."),
    ("Why does it rain?", "It rains because water in the clouds becomes heavy and falls down as drops."),
    ("Why do we sleep?", "We sleep because the body and the mind need rest."),
    ("Why is it dark at night?", "It is dark at night because our side of the earth is turned away from the sun."),
    ("Why do birds fly south in winter?", "Many birds fly south in winter because they find more food in warm places."),
    ("Why does ice float on water?", "Ice floats on water because it is lighter than water."),
    ("Why do leaves fall in autumn?", "Leaves fall in autumn because the tree saves water for the cold winter."),
    ("Why do we wash our hands?", "We wash our hands because soap and water take away dirt and germs."),
    ("Why do plants need sunlight?", "Plants need sunlight because they use it to make their food."),
    ("Why is the sea salty?", "The sea is salty because rivers carry salt from the rocks into it."),
    ("Why do bees visit flowers?", "Bees visit flowers because they collect nectar to make honey."),
    ("Why do we need water?", "We need water because our bodies cannot live without it for more than a few days."),
    ("Why does a boat float?", "A boat floats because it pushes away water that is as heavy as the boat."),
    ("Why do we read books?", "We read books because they teach us new things and tell us good stories."),
    ("Why do cats purr?", "Cats often purr because they feel safe and happy."),
    ("Why does wood burn?", "Wood burns because it gives off gas when it is hot, and the gas catches fire in the air."),
]

WHAT = [
    ("What is the sun?", "The sun is a star. It gives light and warmth to the earth."),
    ("What is the moon?", "The moon is a ball of rock that moves around the earth once in about a month."),
    ("What is a river?", "A river is a long stream of water that flows to a lake or to the sea."),
    ("What is a mountain?", "A mountain is a very high piece of land. Often there is snow on its top."),
    ("What is snow?", "Snow is frozen water that falls from the clouds in soft white flakes."),
    ("What is a computer?",
     "A computer is a machine that follows instructions. People use it to write, to count and to learn."),
    ("What is a book?", "A book is made of many pages. It can tell a story or teach us something new."),
    ("What is a library?", "A library is a place where people can read books and take them home for some time."),
    ("What is a friend?", "A friend is a person who likes you, helps you and tells you the truth."),
    ("What is a desert?", "A desert is a dry place where it almost never rains. Few plants grow there."),
    ("What is an island?", "An island is a piece of land with water all around it."),
    ("What is bread made of?", "Bread is made of flour, water and a little salt. It is baked in a hot oven."),
    ("What is a rainbow?",
     "A rainbow is an arc of colours in the sky. We see it when the sun shines through the rain."),
    ("What is wind?", "Wind is air that moves. A strong wind can bend trees, and a soft wind can carry a kite."),
    ("What is a forest?", "A forest is a large place with many trees. Foxes, deer and owls live there."),
    ("What is music?", "Music is sound in a pleasant order. People sing it or play it on a flute, a drum or a piano."),
]

SEASONS = [
    ("spring", "the snow melts, the days grow longer and the first flowers open", "plant seeds in the garden",
     "summer"),
    ("summer", "the sun is hot, the days are long and the fruit grows", "swim in the lake", "autumn"),
    ("autumn", "the leaves turn red and yellow and fall from the trees", "pick apples and pumpkins", "winter"),
    ("winter", "the days are short, the nights are cold and snow covers the ground", "make a snowman", "spring"),
]

HOW_TO = [
    ("make tea", [
        "boil some water", "put the tea in a pot", "pour the hot water over it", "wait for a few minutes",
        "pour the tea into a cup and add some honey"
    ]),
    ("plant a seed", [
        "fill a pot with soil", "make a small hole with one finger", "put the seed in the hole", "cover it with soil",
        "give it a little water every day"
    ]),
    ("wash your hands", [
        "make your hands wet", "take some soap", "rub your hands together while you count to twenty",
        "rinse them with clean water", "dry them with a towel"
    ]),
    ("make a sandwich", [
        "take two pieces of bread", "put butter on them", "add some cheese and a piece of tomato",
        "put the other piece of bread on top", "cut it in half and enjoy it"
    ]),
    ("write a letter", [
        "take a pen and a piece of paper", "write the name of your friend", "tell what you have done this week",
        "write your own name at the end", "put the letter in an envelope and send it"
    ]),
    ("cross the road", [
        "stop at the side of the road", "look left and right", "listen for cars", "wait until the road is clear",
        "walk straight to the other side"
    ]),
    ("make soup", [
        "wash and cut the vegetables", "put them in a pot with water", "add a little salt",
        "cook them until they are soft", "serve the soup while it is hot"
    ]),
    ("make a kite", [
        "tie two sticks together in the form of a cross", "put paper over the sticks", "glue the paper at the sides",
        "tie a long string to the middle", "run with it on a windy day"
    ]),
]

TALK_NAMES = "Anna Mia Lily Rosa Tom Ben Sam Max Leo Nora".split()
TALKS = [
    [
        "Good morning, {b}. How are you?", "I am fine, thank you. How are you, {a}?",
        "I am well. What will you do today?", "I will {plan}. Would you like to come with me?",
        "Yes, I would like that very much.", "Good. Let us meet at {time}."
    ],
    [
        "Hello, {b}. Have you seen my {thing}?", "No, I have not. Where did you see it last?",
        "I think I left it {spot}.", "Let us look there first.", "Here it is! Thank you for your help, {b}.",
        "You are welcome, {a}."
    ],
    [
        "What is your favourite season, {b}?", "I like {season} best.", "Why do you like {season}?",
        "I like it because I can {season_plan}. What about you, {a}?", "I like every season, but I like holidays best.",
        "That is a good answer."
    ],
    [
        "What are you reading, {b}?", "I am reading a book about {topic}.", "Is it a good book?",
        "Yes, it is. I have learned many new things about {topic}.", "May I read it after you?",
        "Of course. I will bring it to you at {time} on Monday."
    ],
    [
        "I am hungry. What is there to eat, {b}?", "There is {meal} on the table.",
        "That sounds good. Did you make it?", "Yes, I did. I made it this morning.",
        "It is very good. You are a fine cook, {b}.", "Thank you, {a}. Take some more."
    ],
    [
        "Can you help me, {b}?", "Of course, {a}. What is the problem?", "I do not know how to {task}.",
        "It is not hard. First you {first}, and then you {second}.", "Now I understand. Thank you, {b}.",
        "I am glad that I could help."
    ],
]


def _a(noun):
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def _cap(text):
    return text[0].upper() + text[1:]


def _plural(noun):
    return {
        "sheep": "sheep",
        "wolf": "wolves",
        "fox": "foxes",
        "butterfly": "butterflies",
        "calf": "calves",
        "puppy": "puppies"
    }.get(noun, noun + "s")


def animal_paragraph(rng):
    name, kind, home, food, does, young, legs = rng.choice(ANIMALS)
    first = rng.choice([f"{_cap(_a(name))} is {_a(kind)}.", f"The {name} is {_a(kind)}."])
    rest = [
        rng.choice([f"It lives {home}.", f"You can find it {home}.", f"{_cap(_plural(name))} live {home}."]),
        rng.choice([f"It eats {food}.", f"Its food is {food}.", f"{_cap(_plural(name))} eat {food}."]),
        rng.choice([f"It {does}.", f"{_cap(_a(name))} {does}."]),
        rng.choice([f"It has {legs} legs.", f"{_cap(_a(name))} has {legs} legs."]),
    ]
    if young:
        rest.append(rng.choice([f"A young {name} is called {_a(young)}.", f"Its young is called {_a(young)}."]))
    rng.shuffle(rest)
    return " ".join([first] + rest[:rng.randrange(3, len(rest) + 1)])


def job_or_tool_paragraph(rng):
    if rng.random() < 0.5:
        name, place, does = rng.choice(JOBS)
        person = rng.choice(TALK_NAMES)
        return " ".join([
            f"{_cap(_a(name))} works {place}.",
            rng.choice([f"{_cap(_a(name))} {does}.", f"The {name} {does}."]),
            rng.choice([
                f"{person} wants to be {_a(name)} one day.", f"It is hard work, but {_a(name)} is proud of it.",
                f"Every town needs {_a(name)}."
            ])
        ])
    name, place, use = rng.choice(TOOLS)
    person = rng.choice(TALK_NAMES)
    return " ".join([
        rng.choice([f"{_cap(_a(name))} is used {use}.", f"People use {_a(name)} {use}."]),
        rng.choice([f"You can often find it {place}.", f"We keep it {place}."]),
        rng.choice([
            f"{person} has {_a(name)} at home.", f"Without {_a(name)} it is hard {use}.",
            f"When {person} wants {use}, {_a(name)} is the right thing."
        ])
    ])


def season_paragraph(rng):
    name, what, plan, after = rng.choice(SEASONS)
    return " ".join([
        rng.choice([f"In {name}, {what}.", f"{_cap(name)} is a season of the year. In {name}, {what}."]),
        rng.choice([f"Children like to {plan}.", f"It is a good time to {plan}."]),
        rng.choice([f"After {name} comes {after}.", f"When {name} ends, {after} begins."])
    ])


def geography_paragraph(rng):
    pairs = rng.sample(CAPITALS, rng.randrange(2, 5))
    return " ".join(rng.choice([f"The capital of {c} is {t}.", f"{t} is the capital of {c}."]) for c, t in pairs)


def explanation_paragraph(rng):
    return " ".join(answer for _, answer in rng.sample(WHY + WHAT, rng.randrange(1, 4)))


def how_to(rng):
    what, steps = rng.choice(HOW_TO)
    if rng.random() < 0.5:
        lines = [f"How to {what}:"] + [f"{i + 1}. {_cap(step)}." for i, step in enumerate(steps)]
        return "\n".join(lines)
    words = ["First,", "Then", "After that,", "Next,", "At last,"]
    return f"This is how to {what}. " + " ".join(f"{w} {step}." for w, step in zip(words, steps))


def _question(rng):
    kind = rng.randrange(7)
    if kind == 0:
        return rng.choice(WHY)
    if kind == 1:
        return rng.choice(WHAT)
    if kind == 2:
        country, town = rng.choice(CAPITALS)
        return f"What is the capital of {country}?", f"The capital of {country} is {town}."
    if kind == 3:
        pair = rng.choice(OPPOSITES)
        x, y = pair if rng.random() < 0.5 else pair[::-1]
        return f"What is the opposite of {x}?", f"The opposite of {x} is {y}."
    if kind == 4:
        name, place, does = rng.choice(JOBS)
        return rng.choice([(f"What does {_a(name)} do?", f"{_cap(_a(name))} {does}."),
                           (f"Where does {_a(name)} work?", f"{_cap(_a(name))} works {place}.")])
    if kind == 5:
        name, place, use = rng.choice(TOOLS)
        return rng.choice([(f"What is {_a(name)} used for?", f"{_cap(_a(name))} is used {use}."),
                           (f"Where can I find {_a(name)}?", f"You can often find {_a(name)} {place}.")])
    name, kind_of, home, food, _, young, legs = rng.choice(ANIMALS)
    options = [(f"What does {_a(name)} eat?", f"{_cap(_a(name))} eats {food}."),
               (f"Where does {_a(name)} live?", f"{_cap(_a(name))} lives {home}."),
               (f"How many legs does {_a(name)} have?", f"{_cap(_a(name))} has {legs} legs."),
               (f"What kind of animal is {_a(name)}?", f"{_cap(_a(name))} is {_a(kind_of)}.")]
    if young:
        options.append((f"What is a young {name} called?", f"A young {name} is called {_a(young)}."))
    return rng.choice(options)


def questions(rng):
    style = rng.choice(["Question: {}\nAnswer: {}", "Q: {}\nA: {}", "{}\n{}", "{} {}"])
    count = rng.choice([1, 1, 2, 3])
    return "\n\n".join(style.format(*_question(rng)) for _ in range(count))


def talk(rng):
    a, b = rng.sample(TALK_NAMES, 2)
    season, _, season_plan, _ = rng.choice(SEASONS)
    task, steps = rng.choice(HOW_TO)
    slots = dict(
        a=a,
        b=b,
        season=season,
        season_plan=season_plan,
        task=task,
        first=steps[0],
        second=steps[1],
        plan=rng.choice(
            ["go to the market", "work in the garden", "visit my grandmother", "fly my kite", "swim in the lake"]),
        time=rng.choice(["nine o'clock", "noon", "three o'clock", "five o'clock"]),
        thing=rng.choice(["pen", "book", "hat", "key", "scarf", "umbrella"]),
        spot=rng.choice(["on the table", "under the chair", "in the kitchen", "near the door", "in the garden"]),
        topic=rng.choice(["the sea", "the stars", "animals", "trees", "old ships", "music", "mountains"]),
        meal=rng.choice(["some soup", "an apple pie", "some bread and cheese", "a honey cake", "some rice with fish"]))
    return "\n".join(f"{(a, b)[i % 2]}: {line.format(**slots)}" for i, line in enumerate(rng.choice(TALKS)))


# maker, weight
MAKERS = [(animal_paragraph, 4), (job_or_tool_paragraph, 3), (season_paragraph, 1), (geography_paragraph, 1),
          (explanation_paragraph, 3), (how_to, 2), (questions, 6), (talk, 3)]


def make_fact(rng):
    """Returns one short text about the plain world: a paragraph, questions with answers, instructions or a talk."""
    return rng.choices([m for m, _ in MAKERS], [w for _, w in MAKERS])[0](rng)
