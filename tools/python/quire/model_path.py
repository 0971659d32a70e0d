"""Which directory a model's name means. Nothing is downloaded."""
from __future__ import annotations

import os
from pathlib import Path
from typing import Optional


def _hub_cache() -> Path:
    """Where Hugging Face's tools keep what they fetched."""
    if os.environ.get("HF_HUB_CACHE"):
        return Path(os.environ["HF_HUB_CACHE"])
    home = os.environ.get("HF_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "huggingface")
    return Path(home) / "hub"


def _snapshot(repository: Path, revision: str) -> Optional[Path]:
    """The files of a revision (a branch, a tag or a commit) in the cache."""
    ref = repository / "refs" / revision
    commit = ref.read_text(encoding="ascii").strip() if ref.is_file() else revision
    snapshot = repository / "snapshots" / commit
    return snapshot if snapshot.is_dir() else None


def resolve_model(model: str, revision: Optional[str] = None) -> str:
    """A directory as it is; a hub's name ("gpt2", "org/name") as the directory in the local cache. Raises FileNotFoundError."""
    expanded = os.path.expanduser(model)
    if os.path.isdir(expanded):
        return os.path.abspath(expanded)
    cache = _hub_cache()
    parts = model.split("/")
    looks_like_a_name = 1 <= len(parts) <= 2 and all(part not in ("", ".", "..") for part in parts)
    if looks_like_a_name:
        found = _snapshot(cache / f"models--{'--'.join(parts)}", revision or "main")
        if found is not None:
            return str(found)
    where = f", and {cache} holds no model of this name (`hf download {model}` would put it there)" if looks_like_a_name else ""
    raise FileNotFoundError(f"model={model!r} is not a directory{where}")
