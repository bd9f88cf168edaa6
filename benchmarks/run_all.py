"""All benchmarks of spconv, with plots and a report.

python benchmarks/run_all.py                       # ten minutes on two cores
python benchmarks/run_all.py --full --out full
python benchmarks/run_all.py --only rulebooks      # keeps the other results of ./out
"""

import assamese_features
import assamese_vgg
import layers
import mnist
import mnist_dropout
import mnist_slow_pooling
import networks
import pendigits_deepcnet
import pictures
import pretrained
import rulebooks
from reporting import session

RUNS = {
    "layers": layers.run,
    "rulebooks": rulebooks.run,
    "networks": networks.run,
    "mnist": mnist.run,
    "mnist-dropout": mnist_dropout.run,
    "mnist-slow-pooling": mnist_slow_pooling.run,
    "assamese-vgg": assamese_vgg.run,
    "assamese-features": assamese_features.run,
    "pendigits": pendigits_deepcnet.run,
    "pretrained": pretrained.run,
    "pictures": pictures.run,
}

if __name__ == "__main__":
    session.main(RUNS, __doc__)
