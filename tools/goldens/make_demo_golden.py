#!/usr/bin/env python3
"""Makes tests/goldens/demo/golden.json: what transformers says to a few prompts with the demo model, from text to text.

Run it whenever models/demo is trained anew. Weights are bfloat16 as stored, arithmetic is float32, greedy.

Invariants:
  G4. Every recorded step has a gap of more than MIN_GAP between the two best logits; a continuation ends before one that
      has not, so that a correct implementation cannot differ.
"""

import argparse
import json
import pathlib

import torch
import transformers

MIN_GAP = 1e-3
STEPS = 200
MIN_TOKENS = 16
PROMPTS = [
    "Once upon a time", "Question: Why is the sky blue?\nAnswer:", "The capital of Italy is",
    "One sunny morning, Anna and Ben", "How to make tea:\n1.", "Tell me a story about a little girl.",
    "The old man walked slowly to the market", "My name is Tom."
]
ROOT = pathlib.Path(__file__).resolve().parents[2]


def continue_text(model, tokenizer, prompt):
    """Returns the record of one prompt: token ids, greedy tokens up to and without the end token, and how it ended."""
    ids = tokenizer(prompt)["input_ids"]
    tokens, finish, min_gap = [], "length", float("inf")
    with torch.no_grad():
        while len(tokens) < STEPS:
            logits = model(torch.tensor([ids + tokens]), use_cache=False).logits[0, -1]
            best = torch.topk(logits, 2)
            gap = float(best.values[0] - best.values[1])
            if gap <= MIN_GAP:
                finish = "tie"
                break
            min_gap = min(min_gap, gap)
            if int(best.indices[0]) == model.config.eos_token_id:
                finish = "stop"
                break
            tokens.append(int(best.indices[0]))
    return dict(prompt=prompt,
                prompt_ids=ids,
                token_ids=tokens,
                finish=finish,
                min_gap=round(min_gap, 6),
                text=tokenizer.decode(tokens, skip_special_tokens=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=pathlib.Path, default=ROOT / "models" / "demo")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "tests" / "goldens" / "demo" / "golden.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    tokenizer = transformers.AutoTokenizer.from_pretrained(args.model)
    model = transformers.AutoModelForCausalLM.from_pretrained(args.model,
                                                              dtype=torch.float32,
                                                              attn_implementation="eager")
    records = [continue_text(model.eval(), tokenizer, prompt) for prompt in PROMPTS]
    short = [r["prompt"] for r in records if r["finish"] == "tie" and len(r["token_ids"]) < MIN_TOKENS]
    if short:
        raise RuntimeError(f"a tie within {MIN_TOKENS} tokens after {short}; choose other prompts")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(records, indent=1, ensure_ascii=False) + "\n")
    for r in records:
        print(f"{r['finish']:6} {len(r['token_ids']):3} tokens, gap {r['min_gap']:.4f}: {r['prompt']!r}{r['text']!r}")


if __name__ == "__main__":
    main()
