"""Every rule of tidy.py fires on a planted sample, and only there: each case is a tree with one mistake, next to its repaired twin."""
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tidy  # noqa: E402

GUARDED = "// Why.\n#ifndef {guard}\n#define {guard}\n{body}\n#endif\n"


def header(path, body=""):
    return GUARDED.format(guard="QUIRE_" + path.replace("/", "_").replace(".", "_").upper() + "_", body=body)


def function(name, lines):
    return "void %s() {\n%s}\n" % (name, "  Call();\n" * (lines - 2))


class TidyTest(unittest.TestCase):
    def check(self, files):
        """Findings of a tree as (path, line, rule)."""
        with tempfile.TemporaryDirectory() as root:
            for path, text in files.items():
                os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
                with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                    file.write(text)
            return [(f.path, f.line, f.rule) for f in tidy.check_tree(root)[0]]

    def assert_clean(self, files):
        self.assertEqual(self.check(files), [])

    def assert_include(self, path, target, allowed):
        found = self.check({path: 'x\n#include "%s"\n' % target})
        self.assertEqual(found, [] if allowed else [(path, 2, "direction")], f"{path} -> {target}")

    def test_direction(self):
        for path, target, allowed in [
                ("coordinator/main.cc", "coordinator/engine/engine.h", True),
                ("coordinator/main.cc", "worker/runtime/a.h", False),
                ("worker/main.cc", "coordinator/scheduler/step_plan.h", False),
                ("worker/main.cc", "kernels/backend.h", True),
                ("coordinator/engine/a.cc", "coordinator/frontend/b.h", False),
                ("coordinator/engine/a.cc", "coordinator/cluster/worker_group.h", True),
                ("coordinator/engine/a.cc", "coordinator/cluster/grpc_worker_group.h", False),
                ("coordinator/engine/a.cc", "coordinator/kv/b.h", True),
                ("coordinator/scheduler/a.cc", "coordinator/engine/b.h", False),
                ("coordinator/scheduler/a.cc", "coordinator/kv/b.h", True),
                ("coordinator/scheduler/a.cc", "proto/worker.pb.h", False),
                ("coordinator/kv/a.cc", "coordinator/scheduler/scheduler.h", False),
                ("coordinator/request/a.cc", "coordinator/kv/b.h", False),
                ("coordinator/cluster/a.cc", "coordinator/scheduler/step_plan.h", True),
                ("coordinator/cluster/a.cc", "coordinator/scheduler/scheduler.h", False),
                ("coordinator/frontend/a.cc", "coordinator/text/b.h", True),
                ("coordinator/frontend/a.cc", "coordinator/kv/b.h", False),
                ("coordinator/text/a.cc", "coordinator/request/b.h", False),
                ("coordinator/engine/a_test.cc", "coordinator/frontend/b.h", True),  # tests look anywhere in their own process
                ("coordinator/engine/a_test.cc", "worker/runtime/b.h", False),
                ("worker/service/a.cc", "worker/runtime/b.h", True),
                ("worker/runtime/a.cc", "worker/service/b.h", False),
                ("worker/model/a.cc", "worker/comm/communicator.h", True),
                ("worker/model/a.cc", "worker/comm/shm.h", False),
                ("worker/loader/a.cc", "worker/model/b.h", False),
                ("kernels/cpu/a.cc", "kernels/backend.h", True),
                ("kernels/cpu/a.cc", "worker/model/b.h", False),
                ("kernels/cpu/a_test.cc", "worker/model/b.h", False),
                ("tests/a.cc", "worker/model/b.h", True),
        ]:
            self.assert_include(path, target, allowed)

    def test_step_plan_is_a_leaf(self):
        path = "coordinator/scheduler/step_plan.h"
        self.assertIn((path, 4, "direction"), self.check({path: header(path, '#include "coordinator/scheduler/policy.h"')}))

    def test_include_in_a_comment_does_not_count(self):
        self.assert_clean({"worker/main.cc": '// #include "coordinator/engine/engine.h"\n'})

    def test_parent_include(self):
        self.assertEqual(self.check({"kernels/a.cc": '#include "../b.h"\n'}), [("kernels/a.cc", 1, "include-path")])

    def test_cycle(self):
        a, b = "kernels/a.h", "kernels/b.h"
        files = {a: header(a, '#include "kernels/b.h"'), b: header(b, '#include "kernels/a.h"')}
        self.assertEqual(self.check(files), [(b, 4, "cycle")])
        files[b] = header(b)
        self.assert_clean(files)

    def test_guard(self):
        path = "coordinator/kv/block_pool.h"
        self.assert_clean({path: header(path)})
        self.assertEqual(self.check({path: header("kv/block_pool.h")}), [(path, 2, "guard")])
        self.assertEqual(self.check({path: "#pragma once\n"}), [(path, 1, "guard")])

    def test_heavy_header(self):
        path = "coordinator/text/a.h"
        self.assertEqual(self.check({path: header(path, "#include <nlohmann/json.hpp>")}), [(path, 4, "heavy-header")])
        self.assert_clean({"coordinator/text/a.cc": "#include <nlohmann/json.hpp>\n"})

    def test_cuda_header(self):
        self.assertEqual(self.check({"worker/a.cc": "#include <cuda_runtime.h>\n"}), [("worker/a.cc", 1, "cuda-header")])
        self.assert_clean({"kernels/cuda/a.cc": "#include <cuda_runtime.h>\n"})

    def test_family_in_decoder(self):
        self.assertEqual(self.check({"worker/model/decoder.cc": "// as Llama does\n"}), [("worker/model/decoder.cc", 1, "family")])
        self.assert_clean({"worker/model/families.cc": "// as Llama does\n"})

    def test_pure_core(self):
        self.assertEqual(self.check({"coordinator/scheduler/a.cc": "auto t = absl::Now();\n"}), [("coordinator/scheduler/a.cc", 1, "pure-core")])
        self.assertEqual(self.check({"coordinator/kv/a.cc": "#include <thread>\n"}), [("coordinator/kv/a.cc", 1, "pure-core")])
        self.assert_clean({"coordinator/engine/engine.cc": "auto t = absl::Now();\n", "coordinator/kv/a.cc": "// not absl::Now()\n"})

    def test_vague_name(self):
        self.assertEqual(self.check({"kernels/utils.h": header("kernels/utils.h")}), [("kernels/utils.h", 1, "vague-name")])
        self.assertEqual(self.check({"worker/common/a.cc": "\n"}), [("worker/common/a.cc", 1, "vague-name")])
        self.assert_clean({"kernels/utilization.cc": "\n"})

    def test_file_length(self):
        self.assertEqual(self.check({"kernels/a.cc": "\n" * 501}), [("kernels/a.cc", 501, "file-length")])
        self.assert_clean({"kernels/a.cc": "\n" * 500})

    def test_function_length(self):
        self.assertEqual(self.check({"kernels/a.cc": "\n" + function("Long", 71)}), [("kernels/a.cc", 2, "function-length")])
        self.assert_clean({"kernels/a.cc": function("Short", 70) + function("Other", 70), "kernels/a_test.cc": function("Table", 120)})
        self.assertEqual(self.check({"kernels/a_test.cc": function("Table", 121)}), [("kernels/a_test.cc", 1, "function-length")])

    def test_todo(self):
        self.assertEqual(self.check({"kernels/a.cc": "// TODO later\n"}), [("kernels/a.cc", 1, "todo")])
        self.assertEqual(self.check({"tools/a.sh": "# FIXME\n"}), [("tools/a.sh", 1, "todo")])
        self.assert_clean({"kernels/a.cc": "// TODO(decision 0003): AMX when gcc 13 is there\n"})

    def test_cout(self):
        self.assertEqual(self.check({"kernels/a.cc": "std::cout << 1;\n"}), [("kernels/a.cc", 1, "cout")])
        self.assert_clean({"tools/a.cc": "std::cout << 1;\n", "worker/main.cc": "std::cout << 1;\n", "kernels/b.cc": "snprintf(x);\n"})

    def test_machine_path(self):
        self.assertEqual(self.check({"docs/a.md": "see /home/ann/x\n"}), [("docs/a.md", 1, "machine-path")])
        self.assert_clean({"docs/a.md": "see https://example.org/home/ann, $HOME/root/x, ./mnt/x\n"})

    def test_doc_path(self):
        found = self.check({"README.md": "`tools/gone.sh` `tools/here.sh` `tools/*.sh`\n", "tools/here.sh": "\n"})
        self.assertEqual(found, [("README.md", 1, "doc-path")])

    def test_ratchet_lets_old_length_stand_and_no_more(self):
        files = {"kernels/a.cc": function("Old", 80), tidy.RATCHET: "# head\nfunction-length kernels/a.cc Old 80\n"}
        self.assert_clean(files)
        self.assertEqual(self.check({**files, "kernels/a.cc": function("Old", 81)}), [("kernels/a.cc", 1, "function-length")])
        self.assertEqual(self.check({**files, "kernels/a.cc": function("Old", 79)}), [(tidy.RATCHET, 2, "ratchet")])
        self.assertEqual(self.check({**files, "kernels/a.cc": function("Old", 70)}), [(tidy.RATCHET, 2, "ratchet")])

    def test_lower_ratchet_never_raises(self):
        with tempfile.TemporaryDirectory() as root:
            os.makedirs(os.path.join(root, "tools/tidy"))
            os.makedirs(os.path.join(root, "kernels"))
            with open(os.path.join(root, tidy.RATCHET), "w", encoding="utf-8") as file:
                file.write("# head\nfunction-length kernels/a.cc Down 90\nfunction-length kernels/a.cc Up 75\nfile-length gone.cc - 600\n")
            with open(os.path.join(root, "kernels/a.cc"), "w", encoding="utf-8") as file:
                file.write(function("Down", 80) + function("Up", 78))
            tidy.lower_ratchet(root, tidy.check_tree(root)[1])
            with open(os.path.join(root, tidy.RATCHET), encoding="utf-8") as file:
                self.assertEqual(file.read(), "# head\nfunction-length kernels/a.cc Down 80\nfunction-length kernels/a.cc Up 75\n")


class FunctionsTest(unittest.TestCase):
    """The brace matcher on the shapes that our style has."""

    def names(self, text):
        return [(name, length) for name, _, length in tidy.functions(text)]

    def test_shapes(self):
        for text, expected in [
                ("namespace a {\nint F(int x) {\n  return x;\n}\n}  // namespace a\n", [("F", 3)]),
                ("class A {\n public:\n  int G() const { return g_; }\n int g_ = 0;\n};\n", [("G", 1)]),
                ("A::A(int x)\n    : x_{x},\n      y_(2) {\n  F();\n}\nvoid B() {\n}\n", [("A::A", 5), ("B", 2)]),
                ("TEST(Pool, Frees) {\n  F();\n}\n", [("Pool.Frees", 3)]),
                ("const std::vector<int> kTable = {F(1), F(2)};\nvoid H() {}\n", [("H", 1)]),
                ("auto F(int a,\n       int b) -> std::vector<int> {\n  return {a};\n}\n", [("F", 4)]),
                ("void F() {\n  auto g = [](int x) { return x; };\n  for (;;) {\n  }\n}\n", [("F", 5)]),
                ("struct P {\n  bool operator==(const P& o) const { return x == o.x; }\n};\n", [("operator==", 1)]),
                ('void F() {\n  Print("}");  // }\n  char c = \'{\';\n  auto r = R"(})";\n}\n', [("F", 5)]),
                ("#define M(x) { x\nvoid F() {\n}\n", [("F", 2)]),
                ("template <typename T>\nT Max(T a, T b) {\n  return a;\n}\n", [("Max", 4)]),
                ("Big() : n(1'000'000) {\n}\nvoid F() {\n}\n", [("Big", 2), ("F", 2)]),
        ]:
            self.assertEqual(self.names(text), expected, text)


if __name__ == "__main__":
    unittest.main()
