#!/usr/bin/env python3
"""Makes the text that the demo model is trained on: stories, facts, questions with answers, talks, letters.

Standard library only. `demo_text.py --documents=20` prints some.

Invariants:
  T1. make_documents is a pure function of (count, seed).
  T2. No two documents are equal, except short facts, which repeat as they do in life (at most MAX_REPEATS times).
  T3. held_out(...) shares no document with the training documents it is given.
"""

import argparse
import collections
import random

import demo_facts
import demo_scenes
import demo_stories

STORY_SHARE, FACT_SHARE = 0.55, 0.33
MAX_REPEATS = 25


def make_documents(count, seed):
    """Returns `count` documents; STORY_SHARE of them are stories, FACT_SHARE facts, the others scenes."""
    rng, seen, documents = random.Random(seed), collections.Counter(), []
    while len(documents) < count:
        kind = rng.random()
        is_story = kind < STORY_SHARE
        if is_story:
            text = demo_stories.make_story(rng)
        else:
            text = demo_facts.make_fact(rng) if kind < STORY_SHARE + FACT_SHARE else demo_scenes.make_scene(rng)
        if seen[text] < (1 if is_story else MAX_REPEATS):
            seen[text] += 1
            documents.append(text)
    return documents


def held_out(count, seed, training):
    """Returns up to `count` stories from another seed that are not in `training`."""
    known, rng = set(training), random.Random(seed)
    return [t for t in (demo_stories.make_story(rng) for _ in range(count)) if t not in known]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    print("\n\n----\n\n".join(make_documents(args.documents, args.seed)))


if __name__ == "__main__":
    main()
