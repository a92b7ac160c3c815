"""Training: from a patch file to finished weights. A run can be stopped and resumed at any moment.

`train` and `train_one` train the networks of a configuration. `fit` trains any network on a patch file:

    patches = PatchFile("data/patches/cave_x8/train.h5")
    outcome = fit(network, patches, "runs/mine", Training(epochs=None, max_steps=1000))

Afterwards, `network` holds the weights. After an interruption, the same call resumes.
"""

from typing import TYPE_CHECKING

from hsisr.lazy_names import loader

#: Public name -> its module. A module, and torch with it, loads when one of its names is first used.
_PUBLIC = {
    "Outcome": "hsisr.training.fitting",
    "choose_device": "hsisr.devices",
    "fit": "hsisr.training.fitting",
    "fix_threads": "hsisr.system",
    "train": "hsisr.training.runs",
    "train_one": "hsisr.training.runs",
}

__all__ = list(_PUBLIC)

if TYPE_CHECKING:
    from hsisr.devices import choose_device as choose_device
    from hsisr.system import fix_threads as fix_threads
    from hsisr.training.fitting import Outcome as Outcome
    from hsisr.training.fitting import fit as fit
    from hsisr.training.runs import train as train
    from hsisr.training.runs import train_one as train_one


__getattr__, __dir__ = loader(__name__, _PUBLIC)
