"""Programs that need no running part: helm, promtool and the like, built or installed when missing."""

import shutil
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from testbed import artifacts, debian
from testbed.artifacts import ARTIFACTS, Name
from testbed.layout import cache_root
from testbed.progress import Progress


class Program(StrEnum):
    """What can be asked for."""

    HELM = "helm"
    HELM_UNITTEST = "helm-unittest"
    KUBECTL = "kubectl"
    PROMETHEUS = "prometheus"
    PROMTOOL = "promtool"


BUILT_WITH: Mapping[Program, Name] = {
    Program.HELM: Name.HELM,
    Program.HELM_UNITTEST: Name.HELM_UNITTEST,
    Program.KUBECTL: Name.KUBERNETES,
    Program.PROMETHEUS: Name.PROMETHEUS,
    Program.PROMTOOL: Name.PROMETHEUS,
}
# Debian's are good enough where nothing is discovered in Kubernetes, and are there in seconds.
PACKAGED = {Program.PROMETHEUS, Program.PROMTOOL}


def path(program: Program, progress: Progress | None = None) -> Path:
    """Path of a program: the one we built; for Prometheus' two else the PATH's or Debian's; built now otherwise.

    Raises:
        CommandError: it could not be built.
        MissingToolError: it could not be installed, or what builds it is missing.
    """
    name, cache, telling = BUILT_WITH[program], cache_root(), progress or Progress()
    if program in PACKAGED and not ARTIFACTS[name].is_built(cache):
        debian.ensure(debian.HOST_PROMETHEUS, telling)
        return Path(shutil.which(program) or program)
    artifacts.ensure([name], cache, telling)
    return artifacts.program(cache, name, program.value)
