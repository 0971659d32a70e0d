#!/usr/bin/env python3
"""The figures of docs/benchmarks.md in one go: every run through gRPC with the scheduler running, beside the machine's
limits measured in that run. Standard library only.

  bazel build //coordinator //worker //tools/bench:all //coordinator/cluster:step_codec_bench
  tools/bench/report.py --presets=135M,1B --out=/tmp/report

Random models are made once under --models and kept. Prints Markdown tables; keeps every JSON under --out. Nothing here
decides a test: figures are for people, quote ratios from one run.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]

# name, concurrency, prompts, input tokens, output tokens, the share to show, the target of the issue for it.
RUNS = [
    ("decode, batch 1", 1, 4, 32, 64, "mbu"),
    ("decode, batch 16", 16, 32, 32, 64, "mfu"),
    ("decode, batch 32", 32, 64, 32, 64, "mfu"),
    ("prefill, 512 tokens", 1, 6, 512, 1, "mfu"),
]


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", default="135M,1B", help="of tools/models/make_random_model.py")
    parser.add_argument("--dtype", default="bf16", choices=["bf16", "f16", "f32"])
    parser.add_argument("--workers", default="local:1")
    parser.add_argument("--bin", default=str(ROOT / "bazel-bin"), help="where the built binaries are")
    parser.add_argument("--models", default=str(pathlib.Path.home() / ".cache/quire/models"), help="random models are kept here")
    parser.add_argument("--out", default="", help="folder for the JSON files; default: a temporary one")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each; the one with the median share is shown")
    parser.add_argument("--only", default="", help="only the run of this name")
    return parser.parse_args()


def say(text):
    print(text, file=sys.stderr, flush=True)


def random_model(args, preset):
    path = pathlib.Path(args.models) / f"{preset}-{args.dtype}"
    if not (path / "config.json").exists():
        say(f"making a random {preset} model in {path}")
        subprocess.run([sys.executable, ROOT / "tools/models/make_random_model.py", f"--preset={preset}",
                        f"--dtype={args.dtype}", f"--out={path}"], check=True)
    return path


class Coordinator:
    """A coordinator of its own for one model, stopped at the end of the block."""

    def __init__(self, args, model, flags=()):
        self.dir = tempfile.TemporaryDirectory(prefix="quire-report-")
        port_file = pathlib.Path(self.dir.name) / "port"
        self.log = open(pathlib.Path(self.dir.name) / "log", "w+")
        self.process = subprocess.Popen(
            [f"{args.bin}/coordinator/coordinator", f"--model={model}", f"--workers={args.workers}", "--grpc_port=0", "--port=-1",
             f"--port_file={port_file}", "--max_num_seqs=64", "--max_model_len=2048", "--kv_cache_memory_bytes=1073741824", *flags],
            stderr=self.log, stdout=self.log)
        end = time.monotonic() + 300
        while not port_file.exists() or not port_file.read_text().strip():
            if self.process.poll() is not None or time.monotonic() > end:
                self.log.seek(0)
                raise RuntimeError("the coordinator did not start:\n" + self.log.read()[-3000:])
            time.sleep(0.05)
        self.server = "127.0.0.1:" + port_file.read_text().strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)
        self.log.close()
        self.dir.cleanup()


def serve(args, server, out, run, seed):
    name, concurrency, prompts, input_len, output_len, _ = run
    path = out / (name.replace(",", "").replace(" ", "-") + ".json")
    command = [f"{args.bin}/tools/bench/serve", f"--server={server}", f"--concurrency={concurrency}", f"--num_prompts={prompts}",
               f"--input_len={input_len}", f"--output_len={output_len}", f"--warmup={min(2, concurrency)}",
               f"--overhead_probes={64 if concurrency == 1 and output_len > 1 else 0}", f"--seed={seed}", f"--rounds={4 if concurrency == 1 else 2}", f"--json={path}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    result = json.loads(path.read_text())
    if result["failed"]:
        raise RuntimeError(f"{name}: {result['failed']} requests failed: {result['first_error']}")
    return result


def decode_share(result, run):
    """Share of the limit while all streams decode: from the time per token, not from the whole run with its prefill."""
    concurrency = run[1]
    if run[5] == "mbu":
        return result["mbu"], f"{result['read_gb_per_second']:.1f} GB/s read (best pass {result['best_read_gb_per_second']:.0f})"
    limit = f"{result['fma_gflop_per_second']:.0f} GFLOP/s"
    if run[4] == 1:
        return result["mfu"], limit
    flops = 2 * result["matrix_elements"] * concurrency / (result["tpot_ms"]["p50"] * 1e-3)
    return flops / (result["fma_gflop_per_second"] * 1e9), limit


def rate(result, run):
    """Tokens per second: of the prompt for a prefill run, else of all streams while they decode."""
    if run[4] == 1:
        return result["input_tokens"] / result["duration_seconds"]
    return run[1] / (result["tpot_ms"]["p50"] * 1e-3)


def model_table(args, preset, out):
    rows = ["| run | tokens/s | x batch 1 | TTFT p50 ms | TPOT p50 ms | step p50 ms | worker p50 ms | limit | share |",
            "|---|---|---|---|---|---|---|---|---|"]
    model = random_model(args, preset)
    base, overhead = None, None
    with Coordinator(args, model) as coordinator:
        for run in RUNS:
            if args.only and args.only != run[0]:
                continue
            say(f"{preset}: {run[0]}")
            # Each run measures the limits just before itself; on a shared machine both move, the ratio less. Another seed
            # each time, or the prefix cache would know the prompts.
            results = [serve(args, coordinator.server, out, run, seed + 1) for seed in range(args.repeat)]
            result = sorted(results, key=lambda r: decode_share(r, run)[0])[len(results) // 2]
            tokens = rate(result, run)
            if run[0] == "decode, batch 1":
                base, overhead = tokens, result.get("first_token_overhead_ms")
            times = f"{tokens / base:.1f}" if base and run[4] > 1 else ""
            share, limit = decode_share(result, run)
            rows.append(f"| {run[0]} | {tokens:.1f} | {times} | {result['ttft_ms']['p50']:.1f} | {result['tpot_ms']['p50']:.2f} | "
                        f"{result['step_ms_p50']:.2f} | {result['worker_ms_p50']:.2f} | {limit} | {100 * share:.0f} % |")
    if overhead is not None:
        rows.append(f"\nFirst token beside the worker's own time: {overhead:.2f} ms.")
    return "\n".join(rows)


def google_benchmark(args, label, binary, out):
    path = out / (label + ".json")
    subprocess.run([f"{args.bin}/{binary}", f"--json={path}"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    rows = ["| benchmark | time | |", "|---|---|---|"]
    for b in json.loads(path.read_text())["benchmarks"]:
        extra = ", ".join(f"{k} {v:.4g}" for k, v in b.items() if isinstance(v, float) and k not in ("real_time", "cpu_time"))
        rows.append(f"| {b['name']} | {b['real_time']:.1f} {b['time_unit']} | {extra} |")
    return "\n".join(rows)


def cpu_name():
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def main():
    args = parse_args()
    out = pathlib.Path(args.out or tempfile.mkdtemp(prefix="quire-report-"))
    out.mkdir(parents=True, exist_ok=True)
    print(f"{datetime.date.today()}, {cpu_name()}, {os.cpu_count()} cores, --workers={args.workers}, {args.dtype} weights\n")
    for preset in filter(None, args.presets.split(",")):
        (out / preset).mkdir(exist_ok=True)
        print(f"### {preset}\n\n{model_table(args, preset, out / preset)}\n", flush=True)
    if not args.only:
        print(f"### Plan and commit of a decode step\n\n{google_benchmark(args, 'core', 'tools/bench/engine', out)}\n")
        print(f"### Step message\n\n{google_benchmark(args, 'codec', 'coordinator/cluster/step_codec_bench', out)}\n")
    say(f"JSON files in {out}")


if __name__ == "__main__":
    main()
