"""Memory of a training: freed tensors' is used again, and where it runs out fewer windows go through at once."""

import ctypes
from collections.abc import Callable
from typing import TypeVar

import torch

T = TypeVar("T")

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # glibc's malloc.h
MOST = 2**31 - 1

# CUDA's allocator has an error of its own; its libraries and the host's allocator say it in words.
WORDS = (
    "out of memory",
    "alloc_failed",
    "allocation_failed",
    "bad_alloc",
    "can't allocate memory",
    "not enough memory",
    "unable to find an engine",  # cuDNN's convolutions, where no engine's workspace fits
    "cublas_status_not_initialized",  # no room for its handle
    "could not create a primitive",  # oneDNN's, no room for what it compiles
)
UNSUPPORTED = "could not create a primitive descriptor"  # oneDNN's, too: an operation that it does not have


class OutOfMemory(RuntimeError):
    """Not even one window at a time fits into memory."""


class MemoryGuard:
    """How many windows go through the network at once: halved whenever memory runs out, never raised again."""

    def __init__(self, at_once: int) -> None:
        self.at_once = at_once

    def run(self, work: Callable[[int], T], windows: int) -> T:
        """``work(at_once)`` on a batch of ``windows``, from its beginning again with half as many at once if need be.

        ``work`` has to bear being broken off and called again. Raises OutOfMemory where one window is too many.
        """
        while True:
            reason = ""
            try:
                return work(self.at_once)
            except RuntimeError as error:
                if not ran_out(error):
                    raise
                reason = str(error).strip().partition("\n")[0]
            # Beyond the except clause: the error's frames held what had been computed.
            tried = min(self.at_once, windows)
            if tried == 1:
                raise OutOfMemory(f"memory ran out with a single window at once ({reason}); search smaller networks")
            self.at_once = tried // 2
            if torch.cuda.is_initialized():
                torch.cuda.empty_cache()


def ran_out(error: RuntimeError) -> bool:
    """Whether an error says that memory ran out, on a GPU or on the host."""
    text = str(error).lower().replace(UNSUPPORTED, "")
    return isinstance(error, torch.OutOfMemoryError) or any(word in text for word in WORDS)


def keep_freed_memory() -> bool:
    """Let the host's allocator keep what tensors leave for those to come, in the whole process; whether it does.

    glibc gives every large block back to the system, which clears it anew, page by page, for the next one: a quarter of
    a CRNN's step on two cores. What an earlier training has left is given back. Other C libraries are left as they are.
    """
    libc = ctypes.CDLL(None)
    if not (hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim")):
        return False
    keeps = libc.mallopt(M_MMAP_MAX, 0) and libc.mallopt(M_TRIM_THRESHOLD, MOST)
    libc.malloc_trim(0)
    return bool(keeps)
