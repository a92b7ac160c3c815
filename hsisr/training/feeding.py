"""Batches by number, made ahead by worker processes: the same ones whatever the number of workers."""

import itertools
import os
import signal
import sys
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from hsisr.samples import TrainingSamples
from hsisr.training.batches import Batch

#: Batches that each worker keeps ready.
PREFETCHED = 2
#: Where workers put batches, and the part of it that we may fill. Containers often have 64 MiB of it.
SHARED_MEMORY, _SHARED_PART = "/dev/shm", 0.8
#: Batches beside those that workers keep ready: the one in use, and the one on its way to the GPU.
_IN_USE = 2


@dataclass(frozen=True)
class Share:
    """The part of every batch that one of several processes takes: number `rank` of `of` equal ones."""

    rank: int = 0
    of: int = 1


class Feed:
    """The batches of a run, by number; asked for in order, they are ready when they are needed.

    patches: where samples come from. size: samples in a batch, over all processes. workers: processes that read and
    degrade; 0: the caller's. A worker hands tensors over in shared memory; nothing is copied in the caller. Where that
    has no room for so many workers, there are fewer, and a line says so. Batch k holds samples k * size to
    (k + 1) * size, so that a run resumes at any of them.
    """

    #: The feeds of this process that use that memory.
    _all: "weakref.WeakSet[Feed]" = weakref.WeakSet()

    def __init__(self, patches: TrainingSamples, size: int, workers: int = 0, share: Share | None = None) -> None:
        self.patches, self.size, self.workers, self.share = patches, size, workers, share or Share()
        self._ahead: Iterator | None = None
        self._number = -1
        self._batch: Batch | None = None
        self._told = False
        if workers:
            Feed._all.add(self)

    def batch(self, number: int, device: torch.device) -> Batch:
        """This process's share of batch `number`, on a device."""
        if self._batch is None or number != self._number:
            if self._ahead is None or number != self._number + 1:
                self._ahead = None  # lets its memory go before the next one looks what is free
                self._ahead = iter(self._loader(number, device.type == "cuda"))
            lr, *others = next(self._ahead)
            guide, hr = (None if x is None else x.to(device, non_blocking=True) for x in others)
            self._batch = Batch(lr.to(device, non_blocking=True), guide, hr, self.share.rank * len(lr), self.size)
            self._number = number
        return self._batch

    def like(self, other: Batch, number: int) -> Batch:
        """The samples of batch `number` that stand where those of `other` do in theirs, in its type and place."""
        whole = self.batch(number, other.lr.device)
        shares = whole.shares(max(1, len(whole.lr) // len(other.lr)))
        return next((share for share in shares if share.first == other.first), whole)

    def close(self) -> None:
        """End the workers."""
        self._ahead, self._number = None, -1
        Feed._all.discard(self)

    def _loader(self, first: int, pinned: bool) -> DataLoader:
        batches = _Batches(self.patches, self.size, self.share)
        workers = self.workers
        if workers:
            Feed._all.add(self)  # again, if it was closed
            workers = min(workers, self._workers_with_room(batches.bytes_of(first)))
            self._tell(workers)
        return DataLoader(
            batches,
            batch_size=None,
            sampler=itertools.count(first),
            num_workers=workers,
            # children of the trainer itself: those of a fork server would outlive a trainer that is killed
            multiprocessing_context="fork" if workers else None,
            prefetch_factor=PREFETCHED if workers else None,
            pin_memory=pinned,
            worker_init_fn=_leave_signals_to_the_trainer,
            # the order of a run's random numbers does not depend on its workers
            generator=torch.Generator(),
        )

    def _tell(self, workers: int) -> None:
        """Say once that there are fewer workers than asked for."""
        if workers < self.workers and not self._told and self.share.rank == 0:
            self._told = True
            line = f"{SHARED_MEMORY} has room for the batches of {workers} workers, not {self.workers}"
            advice = "give more of it to get batches ahead (Docker: --shm-size=8g)"
            print(f"training: {line}; {advice}", file=sys.stderr, flush=True)

    def _workers_with_room(self, batch_bytes: int) -> int:
        """Workers whose batches fit into this feed's part of the shared memory that is free."""
        try:
            found = os.statvfs(SHARED_MEMORY)
        except OSError:  # shared memory lies elsewhere, and has a bound of its own
            return self.workers
        part = found.f_bavail * found.f_frsize * _SHARED_PART / len(Feed._all) / self.share.of
        return max(0, int((part / batch_bytes - _IN_USE) / PREFETCHED))


class _Batches(Dataset):
    """Map-style: number of a batch -> LR images, guides and HR images of a share of it."""

    def __init__(self, patches: TrainingSamples, size: int, share: Share) -> None:
        self.patches, self.share, self.size = patches, share, size

    def __getitem__(self, number: int) -> list[torch.Tensor | None]:
        mine = self.size // self.share.of
        first = number * self.size + self.share.rank * mine
        samples = self.patches.stack(range(first, first + mine))
        images = (samples.lr, samples.guide, samples.hr)
        return [None if x is None else torch.from_numpy(x) for x in images]

    def bytes_of(self, number: int) -> int:
        """Of this share of batch `number`."""
        one = self.patches.stack([number * self.size])
        return self.size // self.share.of * sum(x.nbytes for x in (one.lr, one.guide, one.hr) if x is not None)


def _leave_signals_to_the_trainer(worker: Any) -> None:
    """Ctrl-C reaches the whole process group; the trainer saves, then ends its workers itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
