"""@cuda: the CUDA toolkit of this machine, or an empty stand-in. Nothing is downloaded.

QUIRE_CUDA=off (--config=nocuda) leaves it out, QUIRE_CUDA=required (--config=cuda) makes its absence an error.
"""

_STUB = "CUDA_IS_THERE = False\nNVCC = \"\"\n"

_BUILD = """
package(default_visibility = ["//visibility:public"])

exports_files(["defs.bzl"])

_HEADERS = [
    "include/*.h",
    "include/*.hpp",
    "include/crt/**",
]

# The runtime, linked in: a program starts without it and says what is missing. It looks for the driver by itself.
cc_library(
    name = "runtime",
    srcs = {archive},
    hdrs = glob(_HEADERS),
    includes = ["include"],
    linkopts = ["-ldl", "-lpthread", "-lrt"],
)

# Headers of libraries that are opened at run time: cuBLASLt, NCCL.
cc_library(
    name = "headers",
    hdrs = glob(_HEADERS),
    includes = ["include"],
)
"""

def _impl(repository_ctx):
    root = repository_ctx.os.environ.get("CUDA_HOME", "/usr/local/cuda")
    nvcc = repository_ctx.path(root + "/bin/nvcc")
    archive = repository_ctx.path(root + "/lib64/libcudart_static.a")
    wish = repository_ctx.os.environ.get("QUIRE_CUDA", "")
    found = nvcc.exists and archive.exists
    if wish == "required" and not found:
        fail("no CUDA toolkit: neither bin/nvcc nor lib64/libcudart_static.a under %s; set CUDA_HOME" % root)
    if wish == "off" or not found:
        repository_ctx.file("defs.bzl", _STUB)
        repository_ctx.file("BUILD.bazel", "")
        return
    repository_ctx.symlink(root + "/include", "include")
    repository_ctx.symlink(archive, "libcudart_static.a")
    repository_ctx.file("defs.bzl", "CUDA_IS_THERE = True\nNVCC = %r\n" % str(nvcc))
    repository_ctx.file("BUILD.bazel", _BUILD.format(archive = "[\"libcudart_static.a\"]"))

cuda_repository = repository_rule(implementation = _impl, environ = ["CUDA_HOME", "QUIRE_CUDA"], local = True)
