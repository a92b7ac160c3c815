"""Devices, precision and processes: lightning-fabric, set up from the section `training`."""

import copy
import io
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch.multiprocessing import ProcessExitedException
from torch.nn.attention import SDPBackend, sdpa_kernel

from hsisr.config import Training
from hsisr.devices import choose_device, take_gpus
from hsisr.errors import HsisrError
from hsisr.files import atomic_path

if TYPE_CHECKING:
    from lightning_fabric import Fabric

#: Value of `training.precision` -> fabric's name of it.
_PRECISIONS: dict[int | str, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    32: "32-true",
    "bf16": "bf16-mixed",
    "fp16": "16-mixed",
}


#: Default number of processes that prepare batches. More of them would read faster than a GPU learns.
_MOST_WORKERS = 8


def workers(training: Training, threads: int, device: torch.device) -> int:
    """Processes that prepare batches for a training process with `threads` threads."""
    if training.workers is not None:
        return training.workers
    # on a CPU, they would take threads from the network
    return min(_MOST_WORKERS, max(0, threads - 1)) if device.type == "cuda" else 0


@contextmanager
def equal_runs(device: torch.device) -> Iterator[None]:
    """In this block, equal runs give equal results on the device. Afterwards, PyTorch's settings are restored."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        # PyTorch only warns here: the gradients of its other kinds of attention on a GPU differ from run to run
        with sdpa_kernel(SDPBackend.MATH) if device.type == "cuda" else nullcontext():
            yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def launch(training: Training, function: Callable, *args: Any) -> Any:
    """Call function(fabric, *args) in every process that the section `training` asks for. Returns the first's result:
    tensors, numbers and text, and dictionaries and tuples of them.

    If one process is enough, it is this one. Several CPU processes, or GPUs of one node, are started here, unless
    torchrun or srun have started them. Raises HsisrError as `function` does, and for devices that are missing or cannot
    do the work.
    """
    started = _launcher_environment()
    if training.devices * training.nodes == 1 or started is not None:
        return _fabric(training, started).launch(function, *args)
    if training.nodes > 1:
        raise HsisrError(
            f"training.nodes: {training.nodes} nodes need srun or torchrun to start a process for every GPU; "
            "see docs/cluster.md"
        )
    errors = multiprocessing.get_context("spawn").SimpleQueue()
    with tempfile.TemporaryDirectory(prefix="hsisr-") as folder:
        result = os.path.join(folder, "result.pt")  # with a queue, we would wait for the process and the process for us
        try:
            with _signals_passed_on():
                launch_all: Callable[..., Any] = _fabric(training, None).launch  # its types lose the arguments
                launch_all(_in_process, errors, result, _Call(function, args))
        except Exception as error:  # an error in a process: torch reports it as a text with a traceback
            if not errors.empty():
                kind, message = errors.get()
                raise kind(message) from error
            if not isinstance(error, ProcessExitedException):
                raise
            why = ", as the system ends one where memory is full" if error.signal_name == "SIGKILL" else ""
            raise HsisrError(f"training: {error}{why}; the same command goes on from the last saved state") from error
        return torch.load(result, weights_only=True)


class _Call:
    """A function and its arguments, hidden from fabric, which refuses frozen dataclasses among arguments."""

    def __init__(self, function: Callable, args: tuple) -> None:
        self.function, self.args = function, args


def _in_process(fabric: "Fabric", errors: Any, result: str, call: _Call) -> None:
    try:
        args = copy.deepcopy(call.args)  # tensors arrive in memory that all processes share
        found = call.function(fabric, *args)
        if fabric.is_global_zero:
            _write(found, result)
    except HsisrError as error:
        errors.put((type(error), str(error)))
        raise


def _write(found: Any, result: str) -> None:
    """Write what a process found. Raises HsisrError if the folder for temporary files has no room."""
    buffer = io.BytesIO()  # on a full disk, torch's own writer fails with a page of C++
    torch.save(found, buffer)
    try:
        with atomic_path(result) as new:
            new.write_bytes(buffer.getbuffer())
    except HsisrError as error:
        raise HsisrError(f"{error}; choose another folder with TMPDIR, then the same command goes on") from error


def _launcher_environment() -> Any:
    """The environment of a launcher that has started several processes; None without a launcher."""
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
        devices = [choose_device(training.device, "training.device").index]
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
    """Whether to use a GPU. Raises HsisrError if the user asks for one and there is none."""
    if training.device == "cpu" or (training.device == "auto" and not torch.cuda.is_available()):
        return False
    if not torch.cuda.is_available():
        choose_device(training.device, "training.device")  # raises the error
    if ":" in training.device and training.devices * training.nodes > 1:
        raise HsisrError(
            f"training.device: {training.device!r} names one GPU and training.devices {training.devices}; "
            "use cuda, and CUDA_VISIBLE_DEVICES to say which"
        )
    return True


@contextmanager
def _signals_passed_on() -> Iterator[None]:
    """Pass SIGINT and SIGTERM on to the training processes. They save and end, and this process waits for them."""

    def pass_on(number: int, frame: Any) -> None:
        for child in multiprocessing.active_children():
            if child.pid is not None:
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
