"""A progress bar on stderr: tqdm's if it is installed, else one line of our own."""
from __future__ import annotations

import sys
import time
from typing import Any, Callable, Optional, TextIO, Union

_WIDTH = 20
_REDRAW_SECONDS = 0.1


class _Line:
    """`Processed prompts:  50%|#####     | 5/10 [00:01, ...]`, written anew at most ten times a second; once, at the end, if nobody watches."""

    def __init__(self, total: int, desc: str, file: Optional[TextIO] = None) -> None:
        self._file = file or sys.stderr
        self._total, self._desc, self._n = total, desc, 0
        self._start = time.monotonic()
        self._drawn = float("-inf")
        self.postfix = ""

    def update(self, n: int) -> None:
        self._n += n
        if self._file.isatty() and time.monotonic() - self._drawn >= _REDRAW_SECONDS:
            self._drawn = time.monotonic()
            self._file.write("\r" + self._text() + "\x1b[K")
            self._file.flush()

    def close(self) -> None:
        self._file.write(("\r" if self._file.isatty() else "") + self._text() + "\n")
        self._file.flush()

    def _text(self) -> str:
        seconds = int(time.monotonic() - self._start)
        share = self._n / self._total if self._total else 1.0
        bar = ("#" * int(share * _WIDTH)).ljust(_WIDTH)
        return f"{self._desc}: {share:4.0%}|{bar}| {self._n}/{self._total} [{seconds // 60:02}:{seconds % 60:02}, {self.postfix}]"


def _make_bar(use_tqdm: Union[bool, Callable[..., Any]], total: int, desc: str) -> Any:
    if callable(use_tqdm):
        return use_tqdm(total=total, desc=desc, dynamic_ncols=True)
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return _Line(total, desc)
    return tqdm(total=total, desc=desc, dynamic_ncols=True)


class Progress:
    """Counts finished prompts and tells tokens per second. Only one thread uses it."""

    def __init__(self, use_tqdm: Union[bool, Callable[..., Any]], total: int, desc: str = "Processed prompts") -> None:
        self._bar = _make_bar(use_tqdm, total, desc) if use_tqdm and total else None
        self._start = time.monotonic()
        self._input_tokens = self._output_tokens = 0

    def add(self, input_tokens: int, output_tokens: int) -> None:
        if self._bar is None:
            return
        self._input_tokens += input_tokens
        self._output_tokens += output_tokens
        seconds = max(time.monotonic() - self._start, 1e-6)
        self._bar.postfix = (f"est. speed input: {self._input_tokens / seconds:.2f} toks/s, "
                             f"output: {self._output_tokens / seconds:.2f} toks/s")
        self._bar.update(1)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
