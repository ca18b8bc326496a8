"""pyrallel-consumer with the settings that it has by itself, but for mode and order."""

from benchmarks.peers import pyrallel

if __name__ == "__main__":
    pyrallel.main(is_tuned=False)
