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
    "base, tls": ("base", ["tls", "tls-ranks"]),
    "cpu-local, monitoring": ("overlays/cpu-local", ["monitoring"]),
    "gpu-single, all": ("overlays/gpu-single", ["monitoring", "autoscaling", "tls"]),
    "gpu-single, pool": ("overlays/gpu-single", ["monitoring", "autoscaling", "inferencepool"]),
    "gpu-tp-lws, all": ("overlays/gpu-tp-lws", ["monitoring", "autoscaling-lws", "tls", "tls-ranks"]),
    "gpu-tp-lws, pool": ("overlays/gpu-tp-lws", ["monitoring", "inferencepool"]),
    "rdma, all": ("overlays/rdma", ["monitoring", "autoscaling-lws", "tls", "tls-ranks"]),
}


def rendered(name):
    """Objects of one rendering."""
    folder, components = RENDERINGS[name]
    return kustomize.render(os.path.join(DEPLOY, folder), [os.path.join(DEPLOY, "components", c) for c in components])
