"""How many workers a profile means on this machine: its CPU count is the container's limit, not the node's.

Not here: what else a profile fills (`contract.profiles`), where the limit is read (`container`).
"""

import math

from consumer_runtime.container import Container
from consumer_runtime.contract.profiles import starting_knobs
from consumer_runtime.contract.settings import RuntimeSettings

_NAME = "worker_pool_size"


def with_workers(settings: RuntimeSettings, cores: float | None = None) -> RuntimeSettings:
    """Return the settings with the profile's number of workers, unless they state one; `cores`: the container's."""
    execution = settings.execution
    if _NAME in execution.model_fields_set:
        return settings
    limit = math.ceil(cores if cores is not None else Container().cpu_limit_cores())
    workers = starting_knobs(settings.profile, cpu_limit=limit).get(_NAME)
    if workers is None:
        return settings
    return settings.model_copy(update={"execution": execution.model_copy(update={_NAME: workers})})
