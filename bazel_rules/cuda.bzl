"""cuda_library: a cc_library whose .cu sources are compiled by nvcc, for each architecture that Quire runs on."""

load("@cuda//:defs.bzl", "CUDA_IS_THERE", "NVCC")
load("@rules_cc//cc:defs.bzl", "cc_library")

# A100; H100 and H200; what comes later, from intermediate code.
_ARCHITECTURES = [
    "arch=compute_80,code=sm_80",
    "arch=compute_90,code=sm_90",
    "arch=compute_90,code=compute_90",
]

# No fused multiply-add but where it is written: the CPU has the same bits (kernels/cuda/simt.cuh, K3).
_FLAGS = "-std=c++17 -O3 -fmad=false --expt-relaxed-constexpr -Werror all-warnings -Xcompiler -fPIC,-Wall,-Wextra,-Werror"

def cuda_library(name, srcs, hdrs = [], inputs = [], deps = [], **kwargs):
    """Does nothing where there is no CUDA toolkit.

    Args:
      name: of the cc_library.
      srcs: .cu files; each becomes one object.
      hdrs: headers of the library.
      inputs: filegroups of all other headers that the sources include: nvcc's action sees nothing of deps.
      deps: of the cc_library.
      **kwargs: passed to the cc_library.
    """
    if not CUDA_IS_THERE:
        return
    objects = []
    for src in srcs:
        rule = name + "_" + src.replace(".cu", "").replace("/", "_")
        native.genrule(
            name = rule,
            srcs = [src] + hdrs + inputs,
            outs = [rule + ".pic.o"],
            cmd = "%s %s %s -I. -c $(location %s) -o $@" % (
                NVCC,
                _FLAGS,
                " ".join(["-gencode " + a for a in _ARCHITECTURES]),
                src,
            ),
            message = "Compiling CUDA",
        )
        objects.append(rule + ".pic.o")
    cc_library(
        name = name,
        srcs = objects,
        hdrs = hdrs,
        # The CUDA runtime is an archive: whatever uses it goes into the program, never into a shared library of a test.
        linkstatic = True,
        deps = deps + ["@cuda//:runtime"],
        **kwargs
    )
