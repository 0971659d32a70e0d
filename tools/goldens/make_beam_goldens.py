#!/usr/bin/env python3
"""Makes tests/goldens/beams.json: what transformers' generate answers to beam searches over the golden checkpoints.

Invariants:
  G1. The output is a function of this file, the checkpoints in tests/goldens and the pinned versions only.
  G2. Every search is stable: float32 and float64 arithmetic give the same texts in the same order. A prompt for which
      one search is not is replaced by the next one of its seed.
"""

import argparse
import itertools
import json
import pathlib

import numpy as np
import torch
import transformers

MODELS = ("llama_gqa", "llama_tied", "gpt2")
PROMPT_LENGTHS = (3, 21)
WIDTHS = (2, 4, 8)
LENGTH_PENALTIES = (0.5, 1.0, 2.0)
EARLY_STOPPING = (False, True, "never")
NEW_TOKENS = 24
# End ids beside the model's own and fewest tokens, in turn: several ends and late ends take other paths.
ENDS = ((), (5, 9, 33), (2,))
MIN_NEW_TOKENS = (0, 0, 6)
TRIES = 60


def search(model, prompt, case):
    out = model.generate(torch.tensor([prompt]),
                         attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                         do_sample=False,
                         num_beams=case["beam_width"],
                         num_return_sequences=case["beam_width"],
                         length_penalty=case["length_penalty"],
                         early_stopping=case["early_stopping"],
                         eos_token_id=[1, *case["stop_token_ids"]],
                         pad_token_id=0,
                         min_new_tokens=case["min_tokens"] or None,
                         max_new_tokens=NEW_TOKENS,
                         output_scores=True,
                         return_dict_in_generate=True)
    ends = {1, *case["stop_token_ids"]}
    texts = []
    for row in out.sequences[:, len(prompt):].tolist():
        end = next((i for i, token in enumerate(row) if token in ends), len(row) - 1)
        texts.append(row[:end + 1])
    return texts, out.sequences_scores.tolist()


def cases():
    for i, (width, penalty, early) in enumerate(itertools.product(WIDTHS, LENGTH_PENALTIES, EARLY_STOPPING)):
        yield dict(beam_width=width,
                   length_penalty=penalty,
                   early_stopping=early,
                   stop_token_ids=list(ENDS[i % len(ENDS)]),
                   min_tokens=MIN_NEW_TOKENS[i // 3 % len(MIN_NEW_TOKENS)])


def searches_of(model, wide, name, length):
    """All cases of the first prompt for which each of them is stable (G2)."""
    for seed in range(TRIES):
        rng = np.random.default_rng([length, seed])
        prompt = [int(t) for t in rng.integers(10, model.config.vocab_size, length)]
        found = []
        for case in cases():
            texts, scores = search(model, prompt, case)
            if search(wide, prompt, case)[0] != texts:
                break
            found.append(dict(model=name, prompt=prompt, **case, max_tokens=NEW_TOKENS, texts=texts,
                              scores=[round(s, 6) for s in scores]))
        else:
            return found
    raise RuntimeError(f"{name}: no prompt of {length} tokens is stable")


def main():
    root = pathlib.Path(__file__).resolve().parents[2] / "tests" / "goldens"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=root / "beams.json")
    args = parser.parse_args()
    transformers.logging.set_verbosity_error()
    searches = []
    for name in MODELS:
        load = lambda dtype: transformers.AutoModelForCausalLM.from_pretrained(root / name, dtype=dtype,
                                                                               attn_implementation="eager").eval()
        model, wide = load(torch.float32), load(torch.float64)
        for length in PROMPT_LENGTHS:
            searches += searches_of(model, wide, name, length)
            print(name, length, len(searches), "searches", flush=True)
    ended = sum(len(t) < NEW_TOKENS for s in searches for t in s["texts"])
    versions = {"transformers": transformers.__version__, "torch": torch.__version__.split("+")[0]}
    lines = ",\n".join(json.dumps(s, separators=(",", ":")) for s in searches)
    args.out.write_text(f'{{"versions": {json.dumps(versions)},\n"searches": [\n{lines}\n]}}\n')
    print(f"{len(searches)} searches, {ended} texts that end early, {args.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
