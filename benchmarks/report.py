"""The report again, from results that there are: report.html and report.md, with their plots.

python benchmarks/report.py out      # reads out/results.json
"""

from harness import command_line, results
from reporting import pages

if __name__ == "__main__":
    out = command_line.folder_of_results(__doc__)
    print(pages.write(out, results.read(out / "results.json")))
