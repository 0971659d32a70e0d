#!/usr/bin/env python3
"""What sequence groups and the step budget are worth, through gRPC with the scheduler running: ratios of runs that
alternate on one machine. Standard library only.

  bazel build //coordinator //worker //tools/bench:all
  tools/bench/groups.py --preset=135M --repeat=3

Scenarios: beam search against parallel sampling of the same width; n choices of one prompt against as many separate
requests; a long prompt among decoding streams, with and without the step budget in time. Nothing here decides a test.
"""

import argparse
import datetime
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

import report


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="135M", help="of tools/models/make_random_model.py")
    parser.add_argument("--dtype", default="bf16", choices=["bf16", "f16", "f32"])
    parser.add_argument("--workers", default="local:1")
    parser.add_argument("--bin", default=str(report.ROOT / "bazel-bin"), help="where the built binaries are")
    parser.add_argument("--models", default=str(pathlib.Path.home() / ".cache/quire/models"), help="random models are kept here")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each, alternating; medians are shown")
    parser.add_argument("--only", default="", choices=["", "beam", "choices", "interference"], help="one scenario")
    parser.add_argument("--long_prompt", type=int, default=4000, help="tokens, of the interference scenario")
    return parser.parse_args()


def start_serve(args, server, path, **flags):
    command = [f"{args.bin}/tools/bench/serve", f"--server={server}", f"--json={path}", "--ceilings=false", "--overhead_probes=0"]
    return subprocess.Popen(command + [f"--{k}={v}" for k, v in flags.items()], stdout=subprocess.DEVNULL)


def finish_serve(process, path):
    if process.wait() != 0:
        raise RuntimeError("a run of serve failed")
    return json.loads(pathlib.Path(path).read_text())


def serve(args, server, out, **flags):
    path = out / "run.json"
    return finish_serve(start_serve(args, server, path, **flags), path)


def beam_against_sampling(args, model, out):
    """Output positions per second of one request at a time: four beams, four sampled choices."""
    rates = {"n=4": [], "beam 4": []}
    with report.Coordinator(args, model) as coordinator:
        for seed in range(args.repeat):
            common = dict(num_prompts=4, input_len=64, output_len=64, warmup=1, seed=seed + 1, n=4)
            for name, more in (("n=4", dict(temperature=1)), ("beam 4", dict(beam_width=4))):
                r = serve(args, coordinator.server, out, **common, **more)
                rates[name].append(r["output_tokens"] / r["duration_seconds"])
    n4, beam = statistics.median(rates["n=4"]), statistics.median(rates["beam 4"])
    return f"| beam 4 against n=4, output positions/s | {beam:.0f} against {n4:.0f} | {beam / n4:.2f} x | at least 0.8 x |"


def choices_against_requests(args, model, out):
    """Time of n=8 over one 512-token prompt, and of eight requests with that prompt and no prefix cache."""
    seconds = {"n=8": [], "8 requests": []}
    with report.Coordinator(args, model) as shared, report.Coordinator(args, model, ["--enable_prefix_caching=false"]) as apart:
        for seed in range(args.repeat):
            common = dict(input_len=512, output_len=16, warmup=0, seed=seed + 1, temperature=1)
            r = serve(args, shared.server, out, **common, num_prompts=1, n=8)
            seconds["n=8"].append(r["duration_seconds"])
            r = serve(args, apart.server, out, **common, num_prompts=8, concurrency=8)
            seconds["8 requests"].append(r["duration_seconds"])
    group, requests = statistics.median(seconds["n=8"]), statistics.median(seconds["8 requests"])
    return (f"| n=8 of one 512-token prompt against eight requests, 16 tokens each | {group * 1e3:.0f} against "
            f"{requests * 1e3:.0f} ms | {100 * group / requests:.0f} % | at most 40 % |")


def p99_gap(args, model, out, flags, with_long_prompt):
    """99th percentile of the time between tokens of 16 streams, in ms; a long prompt comes in the middle."""
    with report.Coordinator(args, model, ["--max_model_len=8192", *flags]) as coordinator:
        serve(args, coordinator.server, out, num_prompts=16, concurrency=16, input_len=32, output_len=16, seed=77)
        path = out / "streams.json"
        streams = start_serve(args, coordinator.server, path, num_prompts=16, concurrency=16, input_len=32, output_len=160, warmup=0)
        time.sleep(1.5)
        if with_long_prompt:
            serve(args, coordinator.server, out, num_prompts=1, input_len=args.long_prompt, output_len=1, warmup=0, seed=5)
        return finish_serve(streams, path)["itl_ms"]["p99"]


def interference(args, model, out):
    rows = []
    for name, flags in (("default budget", []), ("--target_step_ms=0", ["--target_step_ms=0"])):
        alone = statistics.median(p99_gap(args, model, out, flags, False) for _ in range(args.repeat))
        beside = statistics.median(p99_gap(args, model, out, flags, True) for _ in range(args.repeat))
        rows.append(f"| p99 between tokens of 16 streams, a {args.long_prompt}-token prompt among them, {name} | {beside:.0f} against "
                    f"{alone:.0f} ms | {beside / alone:.2f} x | {'at most 2 x' if not flags else 'for comparison'} |")
    return "\n".join(rows)


def main():
    args = parse_args()
    model = report.random_model(args, args.preset)
    scenarios = {"beam": beam_against_sampling, "choices": choices_against_requests, "interference": interference}
    print(f"{datetime.date.today()}, {report.cpu_name()}, {os.cpu_count()} cores, {args.preset} {args.dtype}, medians of {args.repeat}\n")
    print("| scenario | figures | ratio | target |\n|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory(prefix="quire-groups-") as out:
        for name, scenario in scenarios.items():
            if args.only in ("", name):
                print(scenario(args, model, pathlib.Path(out)), flush=True)


if __name__ == "__main__":
    main()
