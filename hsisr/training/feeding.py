"""Batches by number, prepared by worker processes. The batches do not depend on the number of workers."""

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
#: The place of the workers' batches, and the part of it that hsisr may fill. Containers often have only 64 MiB there.
SHARED_MEMORY, _SHARED_PART = "/dev/shm", 0.8
#: Further batches in memory: the one in use, and the one on its way to the GPU.
_IN_USE = 2


@dataclass(frozen=True)
class Share:
    """The part of every batch for one of several processes: number `rank` of `of` equal parts."""

    rank: int = 0
    of: int = 1


class Feed:
    """The batches of a run, by number. If they are asked for in order, they are ready in time.

    patches: the source of samples. size: samples in a batch, over all processes. workers: processes that read and
    degrade; 0: the caller does so. Workers hand tensors over in shared memory, and the caller copies nothing. If this
    memory is too small for all workers, there are fewer, and a line says so. Batch k holds the samples k * size to
    (k + 1) * size, so a run can resume at any batch.
    """

    #: The feeds of this process that use shared memory.
    _all: "weakref.WeakSet[Feed]" = weakref.WeakSet()

    def __init__(self, patches: TrainingSamples, size: int, workers: int = 0, share: Share | None = None) -> None:
        self.patches, self.size, self.workers, self.share = patches, size, workers, share or Share()
        self._ahead: Iterator | None = None
        self._number = -1
        self._batch: Batch | None = None
        self._told = False
        if workers:
            Feed._all.add(self)

    def batch(self, number: int, device: torch.device, dtype: torch.dtype = torch.float32) -> Batch:
        """This process's share of batch `number`, on a device and in the type of a network's weights."""
        if self._batch is None or number != self._number:
            if self._ahead is None or number != self._number + 1:
                self._ahead = None  # frees its memory before the next one checks the free memory
                self._ahead = iter(self._loader(number, device.type == "cuda"))
            lr, *others = next(self._ahead)
            guide, hr = (None if x is None else x.to(device, dtype, non_blocking=True) for x in others)
            lr = lr.to(device, dtype, non_blocking=True)
            self._batch = Batch(lr, guide, hr, self.share.rank * len(lr), self.size)
            self._number = number
        return self._batch

    def like(self, other: Batch, number: int) -> Batch:
        """The samples of batch `number` at the same places as those of `other`, in its type and on its device."""
        whole = self.batch(number, other.lr.device, other.lr.dtype)
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
            Feed._all.add(self)  # add it again after a `close`
            workers = min(workers, self._workers_with_room(batches.bytes_of(first)))
            self._tell(workers)
        return DataLoader(
            batches,
            batch_size=None,
            sampler=itertools.count(first),
            num_workers=workers,
            # forked from the trainer: children of a fork server would survive a killed trainer
            multiprocessing_context="fork" if workers else None,
            prefetch_factor=PREFETCHED if workers else None,
            pin_memory=pinned,
            worker_init_fn=_leave_signals_to_the_trainer,
            # the order of a run's random numbers must not depend on its workers
            generator=torch.Generator(),
        )

    def _tell(self, workers: int) -> None:
        """Report once that there are fewer workers than the user wants."""
        if workers < self.workers and not self._told and self.share.rank == 0:
            self._told = True
            line = f"{SHARED_MEMORY} has room for the batches of {workers} workers, not {self.workers}"
            advice = "give more of it to get batches ahead (Docker: --shm-size=8g)"
            print(f"training: {line}; {advice}", file=sys.stderr, flush=True)

    def _workers_with_room(self, batch_bytes: int) -> int:
        """Number of workers whose batches fit into this feed's part of the free shared memory."""
        try:
            found = os.statvfs(SHARED_MEMORY)
        except OSError:  # this system has its shared memory elsewhere, with its own limit
            return self.workers
        part = found.f_bavail * found.f_frsize * _SHARED_PART / len(Feed._all) / self.share.of
        return max(0, int((part / batch_bytes - _IN_USE) / PREFETCHED))


class _Batches(Dataset):
    """Map-style: number of a batch -> LR images, guides and HR images of a share of the batch."""

    def __init__(self, patches: TrainingSamples, size: int, share: Share) -> None:
        self.patches, self.share, self.size = patches, share, size

    def __getitem__(self, number: int) -> list[torch.Tensor | None]:
        mine = self.size // self.share.of
        first = number * self.size + self.share.rank * mine
        samples = self.patches.stack(range(first, first + mine))
        images = (samples.lr, samples.guide, samples.hr)
        return [None if x is None else torch.from_numpy(x) for x in images]

    def bytes_of(self, number: int) -> int:
        """Bytes of this share of batch `number`."""
        one = self.patches.stack([number * self.size])
        return self.size // self.share.of * sum(x.nbytes for x in (one.lr, one.guide, one.hr) if x is not None)


def worker_ended(error: Exception, workers: int) -> bool:
    """Whether an error of the trainer says that one of its workers is gone: torch notices, or its tensors do not come.

    An error of the samples themselves, inside a worker, comes back with other words: "Caught ... in DataLoader worker".
    """
    if not workers or str(error).startswith("Caught "):
        return False
    return "DataLoader worker (pid" in str(error) or isinstance(error, (ConnectionError, EOFError))


def _leave_signals_to_the_trainer(worker: Any) -> None:
    """Ignore Ctrl-C, which reaches the whole process group. The trainer saves, and then ends its workers itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
