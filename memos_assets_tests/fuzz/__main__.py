"""Search for other rows and other damage each time: ``make fuzz MINUTES=10``."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

#: Examples per fuzzer and round; a round takes a minute or two.
EXAMPLES = "60"


def main(minutes: float) -> int:
    """Run rounds until the time is over or one finds something; return its exit code."""
    end = time.monotonic() + minutes * 60
    rounds = 0
    while rounds == 0 or time.monotonic() < end:
        seed = random.randrange(2**32)
        sys.stdout.write(f"round {rounds + 1}, seed {seed}\n")
        sys.stdout.flush()
        found = subprocess.run(
            [
                sys.executable,
                *("-m", "pytest", "--quiet", "--exitfirst"),
                f"--hypothesis-seed={seed}",
                str(Path(__file__).parent),
            ],
            env={**os.environ, "FUZZ_EXAMPLES": EXAMPLES},
            check=False,
        ).returncode
        if found:
            sys.stdout.write(f"Again: FUZZ_EXAMPLES={EXAMPLES} pytest --hypothesis-seed={seed}\n")
            return found
        rounds += 1
    sys.stdout.write(f"{rounds} rounds without a finding\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
