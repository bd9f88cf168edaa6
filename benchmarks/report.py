"""The report again, from results that there are: report.html and report.md, with their plots.

python benchmarks/report.py out      # reads out/results.json
"""

import sys
from pathlib import Path

from harness import results
from reporting import pages

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} FOLDER-OF-RESULTS")
    out = Path(sys.argv[1])
    print(pages.write(out, results.read(out / "results.json")))
