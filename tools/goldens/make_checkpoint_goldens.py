#!/usr/bin/env python3
"""Writes tests/goldens/checkpoints: files that torch.save wrote, good and evil, and what they hold.

usage: make_checkpoint_goldens.py [--out=DIR]

torch/tensors*.bin hold the tensors of torch/expected.safetensors, laid out in every way that a state dict has them; torch/evil_*.bin would
run something if they were unpickled; torch/bad_*.bin are of formats that are not read. bin_qwen2 is tests/goldens/qwen2 in two .bin shards.
"""
import argparse
import collections
import json
import os
import pathlib
import shutil
import zipfile

import torch
from safetensors.torch import load_file, save_file

ROOT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "goldens"


class Evil:
    """Unpickles as a call."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def layouts():
    """Tensors that lie in their storages in every way; the first half of them in storages of their own."""
    torch.manual_seed(7)
    base = torch.randn(6, 10)
    shared = torch.randn(40)
    ints = torch.arange(-6, 6)
    state = collections.OrderedDict(
        c_order=base.clone(),
        fortran_order=base.t().contiguous().t(),
        every_other=torch.randn(6, 20)[:, ::2],
        middle=torch.randn(9, 12)[2:8, 1:11],
        permuted=torch.randn(2, 3, 4).permute(2, 0, 1),
        head=shared[:16].view(4, 4),
        overlapping=shared[8:32].view(4, 6),
        tied=base,
        tied_too=base,
        tied_transposed=base.t(),
        parameter=torch.nn.Parameter(torch.randn(3)),
        empty=torch.zeros(0, 3),
        scalar=torch.tensor(2.5),
        f16=base.half(),
        bf16=base.bfloat16(),
        f64=base.double(),
        i8=ints.to(torch.int8),
        i16=ints.to(torch.int16),
        i32=ints.to(torch.int32),
        i64=ints,
        u8=ints.abs().to(torch.uint8),
        flags=ints > 0,
        e4m3=base.to(torch.float8_e4m3fn),
        e5m2=base.to(torch.float8_e5m2),
    )
    state._metadata = collections.OrderedDict({"": {"version": 1}})
    return state


def write_evil(out, weights):
    cases = {
        "system": Evil(os.system, "echo ran > /tmp/quire_evil"),
        "eval": Evil(eval, "1 + 1"),
        "getattr": Evil(getattr, "a string", "format"),
        "hub": Evil(torch.hub.load, "a", "b"),
        "partial": __import__("functools").partial(print, "x"),
    }
    for name, value in cases.items():
        torch.save({"a": weights, "b": value}, out / f"evil_{name}.bin")
    torch.save({"a": weights, "b": Evil(os.system, "true")}, out / "evil_protocol4.bin", pickle_protocol=4)
    # The oldest opcodes of a call, in place of a state dict.
    rewrite(out / "evil_system.bin", out / "evil_inst.bin", b"(S'true'\nios\nsystem\n.")
    rewrite(out / "evil_system.bin", out / "evil_newobj.bin", b"\x80\x02ccollections\nOrderedDict\n)\x81.")


def rewrite(source, target, pickled, compression=zipfile.ZIP_STORED):
    """The archive with another pickle."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for info in old.infolist():
            data = pickled if pickled is not None and info.filename.endswith("data.pkl") else old.read(info.filename)
            new.writestr(zipfile.ZipInfo(info.filename), data, compression)


def write_torch(out):
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    state = layouts()
    torch.save(state, out / "tensors.bin")
    torch.save(dict(state), out / "tensors_protocol4.bin", pickle_protocol=4)
    save_file({k: v.detach().clone().contiguous() for k, v in state.items()}, out / "expected.safetensors")
    weights = torch.ones(2)
    write_evil(out, weights)
    torch.save({"a": weights}, out / "bad_legacy.bin", _use_new_zipfile_serialization=False)
    (out / "bad_legacy.bin").write_bytes((out / "bad_legacy.bin").read_bytes()[:100])  # behind it come addresses
    torch.save({"a": weights}, out / "good.bin")
    rewrite(out / "good.bin", out / "bad_compressed.bin", None, zipfile.ZIP_DEFLATED)
    torch.save([weights], out / "bad_list.bin")
    torch.save({"a": weights, "epoch": 3}, out / "bad_epoch.bin")
    torch.save({"model": {"a": weights}}, out / "bad_nested.bin")
    torch.save({"a": weights.to_sparse()}, out / "bad_sparse.bin")
    (out / "good.bin").unlink()


def write_bin_model(source, out):
    """Two shards with an index; matrices alternately as they are, in columns, and as slices of something larger."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    shutil.copy(source / "config.json", out)
    state = load_file(source / "model.safetensors")
    state["lm_head.weight"] = state["model.embed_tokens.weight"]  # tied
    forms = [lambda t: t, lambda t: t.t().contiguous().t(), lambda t: torch.nn.functional.pad(t, (3, 2, 1, 0))[1:, 3:-2]]
    names, weight_map = sorted(state), {}
    for i, name in enumerate(names):
        if state[name].dim() == 2 and name != "lm_head.weight":
            state[name] = forms[i % 3](state[name])
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    for i in range(2):
        file = f"pytorch_model-{i + 1:05d}-of-00002.bin"
        part = names[i * len(names) // 2:(i + 1) * len(names) // 2]
        torch.save(collections.OrderedDict((n, state[n]) for n in part), out / file)
        weight_map.update({n: file for n in part})
    index = {"metadata": {"total_size": sum(t.numel() * 4 for t in state.values())}, "weight_map": weight_map}
    (out / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=2) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "checkpoints")
    args = parser.parse_args()
    torch.set_num_threads(1)
    write_torch(args.out / "torch")
    write_bin_model(ROOT / "qwen2", args.out / "bin_qwen2")


if __name__ == "__main__":
    main()
