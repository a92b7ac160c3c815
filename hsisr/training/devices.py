"""Devices, precision and processes: lightning-fabric, set up from the section `training`."""

import copy
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from hsisr.config import Training
from hsisr.errors import HsisrError
from hsisr.system import wait_passively
from hsisr.training.gpus import take_gpus

if TYPE_CHECKING:
    from lightning_fabric import Fabric

#: Value of `training.precision` -> fabric's name of it.
_PRECISIONS = {32: "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def choose_device(name: str) -> torch.device:
    """The torch device for `auto`, `cpu`, `cuda` or `cuda:<index>`.

    `auto` takes a GPU where there is one, else the CPU; of several GPUs one that no other process of ours holds.
    Raises HsisrError if a GPU is asked for and there is none.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise HsisrError(f"training.device: {name!r} is not allowed here; torch sees no GPU; use auto or cpu")
    return torch.device("cuda", take_gpus(1)[0]) if name == "cuda" else torch.device(name)


def fix_threads(threads: int | None, processes: int = 1) -> int:
    """Use this many CPU threads, shared by `processes`; None: what the job was given, else torch's own choice.

    Returns the threads of each process.
    """
    wait_passively()
    threads = threads or int(os.environ.get("OMP_NUM_THREADS", 0))  # Snakemake exports the job's share
    if threads:
        torch.set_num_threads(max(1, threads // processes))
    return torch.get_num_threads()


def launch(training: Training, function: Callable, *args: Any) -> Any:
    """Call function(fabric, *args) in every process that the section `training` asks for; returns the first's result:
    tensors, numbers and text, and dictionaries and tuples of them.

    One process is this one. Several CPU processes or GPUs of one node are started here, unless torchrun or srun have
    started them. Raises HsisrError as `function` does, and for devices that are not there or cannot do it.
    """
    started = _started_by()
    if training.devices * training.nodes == 1 or started is not None:
        return _fabric(training, started).launch(function, *args)
    if training.nodes > 1:
        raise HsisrError(
            f"training.nodes: {training.nodes} nodes need srun or torchrun to start a process for every GPU; "
            "see docs/cluster.md"
        )
    errors = multiprocessing.get_context("spawn").SimpleQueue()
    with tempfile.TemporaryDirectory(prefix="hsisr-") as folder:
        result = os.path.join(folder, "result.pt")  # a queue would wait for us to empty it, and we for the process
        try:
            with _signals_passed_on():
                _fabric(training, None).launch(_in_process, errors, result, _Call(function, args))
        except Exception as error:  # a process has ended with an error: torch tells it as a text with a traceback
            if errors.empty():
                raise
            kind, message = errors.get()
            raise kind(message) from error
        return torch.load(result, weights_only=True)


class _Call:
    """A function and its arguments, into which fabric does not look: it refuses frozen dataclasses among them."""

    def __init__(self, function: Callable, args: tuple) -> None:
        self.function, self.args = function, args


def _in_process(fabric: "Fabric", errors: Any, result: str, call: _Call) -> None:
    try:
        args = copy.deepcopy(call.args)  # tensors came in memory that all processes share
        found = call.function(fabric, *args)
        if fabric.is_global_zero:
            torch.save(found, result)
    except HsisrError as error:
        errors.put((type(error), str(error)))
        raise


def _started_by() -> Any:
    """Environment of a launcher that has started several processes; None if nobody has."""
    from lightning_fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment

    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    if int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
        return SLURMEnvironment()
    return None


def _fabric(training: Training, started: Any) -> "Fabric":
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import LightningEnvironment
    from lightning_fabric.strategies import DDPStrategy

    count = training.devices * training.nodes
    cuda = _on_gpu(training)
    if training.precision == "fp16" and not cuda:
        raise HsisrError("training.precision: 'fp16' needs a GPU; use bf16 or 32 on a CPU")
    devices: Any = training.devices
    strategy: Any = "auto" if count == 1 else DDPStrategy()
    if count == 1 and cuda:
        devices = [choose_device(training.device).index]
    elif started is None and count > 1:
        strategy = DDPStrategy(start_method="spawn")
        devices = take_gpus(training.devices) if cuda else training.devices
    return Fabric(
        accelerator="cuda" if cuda else "cpu",
        devices=devices,
        num_nodes=training.nodes,
        strategy=strategy,
        precision=_PRECISIONS[training.precision],
        plugins=[started or LightningEnvironment()],
    )


def _on_gpu(training: Training) -> bool:
    """Whether a GPU is to be used. Raises HsisrError if one is asked for and there is none."""
    if training.device == "cpu" or (training.device == "auto" and not torch.cuda.is_available()):
        return False
    if not torch.cuda.is_available():
        choose_device(training.device)  # says so
    if ":" in training.device and training.devices * training.nodes > 1:
        raise HsisrError(
            f"training.device: {training.device!r} names one GPU and training.devices {training.devices}; "
            "use cuda, and CUDA_VISIBLE_DEVICES to say which"
        )
    return True


@contextmanager
def _signals_passed_on() -> Iterator[None]:
    """Pass SIGINT and SIGTERM on to the processes that train, which save and end; we wait for them."""

    def pass_on(number: int, frame: Any) -> None:
        for child in multiprocessing.active_children():
            os.kill(child.pid, number)

    try:
        previous = {n: signal.signal(n, pass_on) for n in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread
        previous = {}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
