"""Threads do not wait for each other's objects, nor a forked child for threads it does not have."""

import os
import subprocess
import sys
import threading

import pytest

from spconv.cached import cached_property


class Waiting:
    def __init__(self, own, other):
        self.own, self.other = own, other
        self.calls = 0

    @cached_property
    def met(self):
        """Whether the other one is being computed at the same time."""
        self.calls += 1
        self.own.set()
        return self.other.wait(timeout=10)


def test_a_property_is_computed_once_and_of_several_objects_at_a_time():
    a, b = threading.Event(), threading.Event()
    first, second = Waiting(a, b), Waiting(b, a)
    thread = threading.Thread(target=lambda: first.met)
    thread.start()
    assert second.met
    thread.join()
    assert first.met
    assert (first.calls, second.calls) == (1, 1)
    assert Waiting.met.__doc__ == "Whether the other one is being computed at the same time."
    del first.met
    assert first.met
    assert first.calls == 2


IN_A_FORKED_CHILD = """
import os, threading, numpy as np, spconv
from spconv.cached import cached_property
from spconv.functional import dense
from spconv.graph import _leaves

def forked(work):
    child = os.fork()
    if not child:
        work()
        os._exit(7)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def hold(lock):
    with lock:
        held.set()
        release.wait()

class Slow:
    wait = True

    @cached_property
    def number(self):
        if Slow.wait:
            held.set()
            release.wait()
        return 1

def quick():
    Slow.wait = False
    assert Slow().number == 1

def backward():
    weight = spconv.Parameter(np.ones(2))
    (weight * 2).sum().backward()
    assert weight.grad.tolist() == [2, 2]

def convolve():
    spconv.Conv2d(1, 1, 3)(spconv.Tensor(np.ones((1, 1, 4, 4), "float32")))

codes = []
for target, work in (
    (lambda: hold(_leaves), backward),
    (lambda: hold(dense._lock), convolve),
    (lambda: Slow().number, quick),
):
    held, release = threading.Event(), threading.Event()
    thread = threading.Thread(target=target)
    thread.start()
    held.wait()
    codes.append(forked(work))
    release.set()
    thread.join()
print(codes)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_does_not_wait_for_the_parents_threads():
    command = [sys.executable, "-W", "ignore", "-c", IN_A_FORKED_CHILD]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[7, 7, 7]", done.stderr
