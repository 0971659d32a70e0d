"""The generated messages in the tree are those of proto/generate.proto. No Python package is needed, only protoc."""
import os
import subprocess
import sys

HERE = "tools/python"


def main():
    out = os.environ["TEST_TMPDIR"]
    subprocess.run(["bash", f"{HERE}/generate_stubs.sh", out], check=True)
    stale = []
    for name in ("generate_pb2.py", "generate_pb2.pyi"):
        with open(os.path.join(out, name), "rb") as fresh, open(f"{HERE}/quire/_proto/{name}", "rb") as kept:
            if fresh.read() != kept.read():
                stale.append(name)
    if stale:
        sys.exit(f"{', '.join(stale)}: not what proto/generate.proto gives; run {HERE}/generate_stubs.sh")


if __name__ == "__main__":
    main()
