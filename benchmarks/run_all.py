"""All benchmarks of spconv, with plots and a report.

python benchmarks/run_all.py                       # ten minutes on two cores
python benchmarks/run_all.py --full --out full
python benchmarks/run_all.py --only rulebooks      # keeps the other results of ./out
"""

import layers
import mnist
import networks
import rulebooks
import session

RUNS = {
    "layers": layers.run,
    "rulebooks": rulebooks.run,
    "networks": networks.run,
    "mnist": mnist.run,
}

if __name__ == "__main__":
    session.main(RUNS, __doc__)
