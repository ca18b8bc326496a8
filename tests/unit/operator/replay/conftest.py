"""Makes the tuner tests' `made_windows` importable here."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tuning"))
