"""A fuzz target foo: foo_fuzz.cc with corpus/foo and a dictionary, as a plain test and as a program for libFuzzer."""

load("@rules_cc//cc:defs.bzl", "cc_binary", "cc_library", "cc_test")

def fuzz_target(name, dictionary, deps, is_json = False, num_changed = 6000):
    cc_library(
        name = name + "_target",
        testonly = True,
        srcs = [name + "_fuzz.cc"],
        deps = deps + [":fuzz_target"],
    )
    cc_test(
        name = name + "_corpus_test",
        size = "small",
        timeout = "moderate",
        srcs = ["corpus_test.cc"],
        data = native.glob(["corpus/" + name + "/*"]) + [dictionary],
        local_defines = [
            'FUZZ_CORPUS=\\"tests/fuzz/corpus/%s\\"' % name,
            'FUZZ_DICTIONARY=\\"tests/fuzz/%s\\"' % dictionary,
            "FUZZ_NUM_CHANGED=%d" % num_changed,
        ],
        deps = [
            ":%s_target" % name,
            "@system//:absl_strings",
            "@system//:glog",
            "@system//:gtest_main",
        ],
    )

    # Links only with --config=fuzz, which brings libFuzzer's main: see tools/fuzz.sh.
    cc_binary(
        name = name + "_fuzz",
        testonly = True,
        tags = ["manual"],
        deps = [":%s_target" % name] + ([":json_mutator"] if is_json else []),
    )
