#!/usr/bin/env python3
"""Trains the demo model: a small LLaMA-architecture model on the text of demo_text.py, as a Hugging Face directory.

Runs on one thread (nice it as you like); README.md says how long. Needs what tools/goldens/requirements.txt names.

Invariants:
  D1. For one set of package versions and one machine, the result is a function of (--steps, --seed, the text).
  D2. Every row starts with <|begin|> at position 0, as every prompt does when the model is served.
  D3. The exported directory is complete at every evaluation, so that a run that is stopped leaves a usable model.
"""

import argparse
import json
import math
import pathlib
import random
import sys
import time

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

import demo_text

BEGIN, END = "<|begin|>", "<|end|>"
VOCAB_SIZE = 2048
# The split of the Llama 3 tokenizer: contractions, words, up to three digits, punctuation, line ends, spaces.
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
         r"\s+(?!\S)|\s+")
SHAPE = dict(hidden_size=192,
             intermediate_size=512,
             num_hidden_layers=5,
             num_attention_heads=8,
             num_key_value_heads=4,
             head_dim=32,
             max_position_embeddings=1024,
             rms_norm_eps=1e-5,
             tie_word_embeddings=True)
ROPE_THETA = 10000.0
DOCUMENTS, HELD_OUT = 60000, 400
TOKENS_PER_STEP, ROW, LONG_ROW, LONG_EVERY = 2048, 512, 1024, 8
PEAK_RATE, WARM_UP, WEIGHT_DECAY, CLIP = 2e-3, 80, 0.1, 1.0
EVALUATE_EVERY = 250
PROMPTS = ["Once upon a time", "One sunny morning, Anna", "Question: Why is the sky blue?\nAnswer:"]


def train_tokenizer(texts):
    """A byte-level BPE tokenizer with the specials at the end of the vocabulary; encoding puts <|begin|> first."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    ])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCAB_SIZE - 2,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                  show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([BEGIN, END])
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single=f"{BEGIN} $A",
                                      pair=f"{BEGIN} $A {BEGIN}:1 $B:1",
                                      special_tokens=[(BEGIN, tokenizer.token_to_id(BEGIN))])
    ])
    return tokenizer


def make_rows(encoded, length):
    """Packs documents (each <|begin|> ... <|end|>) into rows of length + 1 tokens; the last one of a row is cut."""
    rows, row = [], []
    for ids in encoded:
        row += ids
        if len(row) > length:
            rows.append(row[:length + 1])
            row = []
    return torch.tensor(rows)


class Rows:
    """Endless batches of TOKENS_PER_STEP tokens; the order of the rows is drawn anew in each round."""

    def __init__(self, encoded, length, rng):
        self.rows, self.count, self.rng, self.order = make_rows(encoded, length), TOKENS_PER_STEP // length, rng, []

    def next(self):
        if len(self.order) < self.count:
            self.order = list(range(len(self.rows)))
            self.rng.shuffle(self.order)
        picked, self.order = self.order[:self.count], self.order[self.count:]
        return self.rows[picked]


def loss_of(model, rows):
    logits = model(rows[:, :-1], use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())


def held_out_loss(model, rows):
    model.eval()
    with torch.no_grad():
        value = sum(float(loss_of(model, part)) * len(part) for part in rows.split(8)) / len(rows)
    model.train()
    return value


def rate_at(step, steps):
    if step < WARM_UP:
        return PEAK_RATE * (step + 1) / WARM_UP
    return PEAK_RATE * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - WARM_UP) / max(1, steps - WARM_UP))))


def make_optimizer(model):
    matrices = [p for p in model.parameters() if p.dim() > 1]
    norms = [p for p in model.parameters() if p.dim() == 1]
    groups = [dict(params=matrices, weight_decay=WEIGHT_DECAY), dict(params=norms, weight_decay=0.0)]
    return torch.optim.AdamW(groups, lr=PEAK_RATE, betas=(0.9, 0.95))


def build_model(vocab_size, begin, end):
    config = transformers.LlamaConfig(vocab_size=vocab_size,
                                      bos_token_id=begin,
                                      eos_token_id=end,
                                      rope_parameters=dict(rope_type="default", rope_theta=ROPE_THETA),
                                      **SHAPE)
    return transformers.LlamaForCausalLM._from_config(config, attn_implementation="sdpa", dtype=torch.float32)


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def export(out, model, tokenizer):
    """Writes the Hugging Face directory; weights in bfloat16, the tied head stored once."""
    out.mkdir(parents=True, exist_ok=True)
    begin, end = tokenizer.token_to_id(BEGIN), tokenizer.token_to_id(END)
    ids = dict(bos_token_id=begin, eos_token_id=end)
    write_json(
        out / "config.json",
        dict(architectures=["LlamaForCausalLM"],
             model_type="llama",
             torch_dtype="bfloat16",
             vocab_size=tokenizer.get_vocab_size(),
             hidden_act="silu",
             rope_theta=ROPE_THETA,
             rope_scaling=None,
             attention_bias=False,
             mlp_bias=False,
             **SHAPE,
             **ids))
    write_json(out / "generation_config.json", dict(ids, do_sample=True, temperature=0.8, top_p=0.95))
    write_json(
        out / "tokenizer_config.json",
        dict(tokenizer_class="PreTrainedTokenizerFast",
             bos_token=BEGIN,
             eos_token=END,
             clean_up_tokenization_spaces=False,
             model_max_length=SHAPE["max_position_embeddings"]))
    tokenizer.save(str(out / "tokenizer.json"))
    state = {
        k: v.detach().to(torch.bfloat16).contiguous() for k, v in model.state_dict().items() if k != "lm_head.weight"
    }
    save_file(state, out / "model.safetensors", metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)


def sample(model, tokenizer, prompt, temperature=0.0, limit=200, seed=1):
    """Continues a prompt until <|end|> or `limit` tokens; temperature 0 takes the best token."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.tensor([tokenizer.encode(prompt).ids])
    end, cache, new = tokenizer.token_to_id(END), None, []
    model.eval()
    with torch.no_grad():
        for _ in range(limit):
            out = model(ids, past_key_values=cache, use_cache=True)
            cache, logits = out.past_key_values, out.logits[0, -1]
            if temperature == 0:
                token = int(logits.argmax())
            else:
                token = int(torch.multinomial(torch.softmax(logits / temperature, -1), 1, generator=generator))
            if token == end:
                break
            new.append(token)
            ids = torch.tensor([[token]])
    model.train()
    return tokenizer.decode(new)


def train(args):
    """Runs the loop; returns (model, tokenizer, last smoothed train loss, held-out loss)."""
    texts = demo_text.make_documents(DOCUMENTS, args.seed)
    tokenizer = train_tokenizer(texts[:20000])
    begin, end = tokenizer.token_to_id(BEGIN), tokenizer.token_to_id(END)

    def encode(documents):
        return [e.ids + [end] for e in tokenizer.encode_batch(documents)]

    encoded = encode(texts)
    held = make_rows(encode(demo_text.held_out(HELD_OUT, args.seed + 1, texts)), ROW)
    rng = random.Random(args.seed)
    short, long = Rows(encoded, ROW, rng), Rows(encoded, LONG_ROW, rng)
    model = build_model(tokenizer.get_vocab_size(), begin, end)
    optimizer = make_optimizer(model)
    print(
        f"{sum(map(len, encoded))} tokens, vocabulary {tokenizer.get_vocab_size()}, "
        f"{sum(p.numel() for p in model.parameters())} parameters",
        flush=True)
    started, smooth, held_loss = time.monotonic(), None, float("nan")
    for step in range(args.steps):
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, args.steps)
        loss = loss_of(model, (long if step % LONG_EVERY == LONG_EVERY - 1 else short).next())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        smooth = float(loss) if smooth is None else 0.98 * smooth + 0.02 * float(loss)
        done = step + 1
        if done % 10 == 0 or done == args.steps:
            spent = time.monotonic() - started
            print(
                f"\rstep {done}/{args.steps}  loss {smooth:.4f}  {done * TOKENS_PER_STEP / spent:.0f} tokens/s  "
                f"{spent * (args.steps - done) / done / 60:.1f} min left ",
                end="",
                file=sys.stderr,
                flush=True)
        if done % EVALUATE_EVERY == 0 or done == args.steps:
            held_loss = held_out_loss(model, held)
            print(f"\nstep {done}: train {smooth:.4f}, held-out {held_loss:.4f}", flush=True)
            print(sample(model, tokenizer, PROMPTS[0], limit=80), flush=True)
            export(args.out, model, tokenizer)
    return model, tokenizer, smooth, held_loss


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    model, tokenizer, train_loss, held_loss = train(args)
    print(f"final: train {train_loss:.4f}, held-out {held_loss:.4f}")
    for prompt in PROMPTS:
        for temperature in (0.0, 0.8):
            print(f"--- {prompt!r} at {temperature}\n{sample(model, tokenizer, prompt, temperature)}")


if __name__ == "__main__":
    main()
