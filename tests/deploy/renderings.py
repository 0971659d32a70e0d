"""What is rendered and checked: every overlay, every component, and what people put together of them."""
import os

import kustomize

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
DEPLOY = os.path.join(ROOT, "deploy")

# Name -> (folder, components on top of it).
RENDERINGS = {
    "base": ("base", []),
    "cpu-local": ("overlays/cpu-local", []),
    "gpu-single": ("overlays/gpu-single", []),
    "gpu-tp-lws": ("overlays/gpu-tp-lws", []),
    "rdma": ("overlays/rdma", []),
}


def rendered(name):
    """Objects of one rendering."""
    folder, components = RENDERINGS[name]
    return kustomize.render(os.path.join(DEPLOY, folder), [os.path.join(DEPLOY, "components", c) for c in components])
