"""All benchmarks of spconv, with plots and a report.

python benchmarks/run_all.py                       # ten minutes on two cores
python benchmarks/run_all.py --full --out full
python benchmarks/run_all.py --only rulebooks      # keeps the other results of ./out
"""

import layers
import mnist
import mnist_dropout
import mnist_slow_pooling
import networks
import pictures
import pretrained
import rulebooks
import session

RUNS = {
    "layers": layers.run,
    "rulebooks": rulebooks.run,
    "networks": networks.run,
    "mnist": mnist.run,
    "mnist-dropout": mnist_dropout.run,
    "mnist-slow-pooling": mnist_slow_pooling.run,
    "pretrained": pretrained.run,
    "pictures": pictures.run,
}

if __name__ == "__main__":
    session.main(RUNS, __doc__)
