"""What was tried so far, in a JSON file that is written after every trial, so that an interrupted choice goes on."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from benchmarks import whole_file
from benchmarks.choose.trials import Trial, Tried
from benchmarks.machine import machine
from benchmarks.scenarios.errors import WorkbenchError
from benchmarks.scenarios.results import load_json

_TRIALS = TypeAdapter(dict[str, Tried])


class OtherChoiceError(WorkbenchError):
    """The file is of another handler, sample or setting, or no such file at all."""


@dataclass
class Kept:
    """Trials by round and setting."""

    path: Path
    of: dict[str, Any]
    """What they depend on: handler, sample, seconds, and so on. Plain values."""
    trials: dict[str, Tried] = field(default_factory=dict)

    @classmethod
    def begun(cls, path: Path, of: dict[str, Any], *, resume: bool) -> "Kept":
        """Return nothing yet, or with `resume` what the file has. Raises OtherChoiceError, ScenarioFileError."""
        if not (resume and path.exists()):
            return cls(path, of)
        document = load_json(path)
        if document.get("of") != of:
            raise OtherChoiceError(f"{path} is of {document.get('of')}, and not of {of}; leave --resume out")
        try:
            return cls(path, of, _TRIALS.validate_python(document.get("trials")))
        except ValidationError as error:
            raise OtherChoiceError(f"{path} has no trials that can be read; leave --resume out") from error

    def missing(self, turn: int, trial: Trial) -> bool:
        """Return whether this trial of a round is still to be made."""
        return _key(turn, trial) not in self.trials

    def add(self, turn: int, found: Tried) -> None:
        """Keep a trial and write the file."""
        self.trials[_key(turn, found.trial)] = found
        trials = _TRIALS.dump_python(self.trials, mode="json")
        whole_file.write_json(self.path, {"machine": machine(), "of": self.of, "trials": trials})

    def best(self) -> list[Tried]:
        """Return the fastest round of each setting: what else runs on a machine only slows."""
        found: dict[Trial, Tried] = {}
        for each in self.trials.values():
            found[each.trial] = max(found.get(each.trial, each), each, key=lambda one: one.rate)
        return list(found.values())


def _key(turn: int, trial: Trial) -> str:
    return f"{turn}/{trial.mode}/{trial.at_once}"
