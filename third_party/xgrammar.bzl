"""The grammar library from where tools/install_xgrammar.sh put its sources; an empty repository where there are none."""

XGRAMMAR_VERSION = "0.2.8"

_BUILD = """
package(default_visibility = ["//visibility:public"])

cc_library(
    name = "xgrammar",
    srcs = glob(["cpp/**/*.cc", "cpp/**/*.h"], exclude = ["cpp/tvm_ffi/**"]),
    hdrs = glob(["include/**/*.h", "3rdparty/picojson/*.h", "3rdparty/dlpack/include/**/*.h"]),
    includes = ["include", "3rdparty/picojson", "3rdparty/dlpack/include"],
    copts = ["-Icpp", "-Iexternal/xgrammar/cpp", "-w"],
    linkopts = ["-lpthread"],
)
"""

def _xgrammar_impl(ctx):
    folder = ctx.path(ctx.os.environ.get("HOME", "/") + "/.cache/quire/xgrammar-" + XGRAMMAR_VERSION)
    there = folder.exists and folder.get_child("LICENSE").exists
    if there:
        for name in ["cpp", "include", "3rdparty"]:
            ctx.symlink(folder.get_child(name), name)
    ctx.file("BUILD.bazel", _BUILD if there else "")
    ctx.file("available.bzl", "HAS_XGRAMMAR = %s\n" % there)

xgrammar_repository = repository_rule(implementation = _xgrammar_impl, environ = ["HOME"], local = True)
