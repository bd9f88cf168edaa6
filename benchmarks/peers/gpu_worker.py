"""Runs in another interpreter: layers and a network of the other spconv, in one arithmetic.

Called by compare_gpu.py with the path of a JSON file that describes the work. Prints a line of
JSON for every measurement as soon as there is one, or for what went wrong instead. One process
has one arithmetic: the other spconv remembers the kernels that it has tuned by shape alone, so
that they would stay float32's after TF32 has been allowed.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from blocks import OPERATIONS, layer_arrays, milliseconds, reason
from layers_worker import answer_for_streams, leaf
from networks_worker import build

KERNEL_SIZE, ROWS_TO_COMPARE = 3, 1000


class Worker:
    def __init__(self, job):
        self.job, self.kind, self.device = job, job["kind"], job["device"]
        self.ends = time.monotonic() + job["seconds"]
        self.dtype = torch.float16 if self.kind == "float16" else torch.float32
        # Answers alone go to the standard output: what libraries print, C++ included, does not.
        self.answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def emit(self, **what):
        print(json.dumps(what), file=self.answers, flush=True)

    def synchronize(self):
        if self.device == "cuda":
            torch.cuda.synchronize()

    def prepare(self):
        """Allow TF32 or forbid it, and say what runs here."""
        import spconv
        from spconv import constants

        allowed = self.kind == "tf32"
        constants.SPCONV_ALLOW_TF32 = allowed
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
        versions = {"torch": torch.__version__, "other spconv": spconv.__version__}
        with contextlib.suppress(Exception):
            import cumm

            versions["cumm"] = cumm.__version__
        versions["numpy"] = np.__version__
        if self.device == "cpu":
            answer_for_streams()
        self.emit(versions=versions)

    def run(self):
        previous = None
        for number, (algorithm, layer) in enumerate(self.job["units"]):
            self.emit(begins=number)
            where = {"algorithm": algorithm, "layer": layer}
            if self.late(where):
                continue
            if previous not in (None, algorithm):
                self.forget_tuned_kernels()
            previous = algorithm
            try:
                if layer is None:
                    self.time_network(algorithm, where)
                else:
                    self.time_layer(self.job["layers"][layer], algorithm, where)
            except Exception as error:
                self.failed(error, where)

    def failed(self, error, where):
        """Say so, and end if the device answers to nothing any more."""
        self.emit(**where, error=reason(error))
        try:
            self.synchronize()
        except Exception as lost:
            raise SystemExit(f"the device was lost: {reason(lost)}") from lost

    def forget_tuned_kernels(self):
        """Let the next algorithm tune its own kernels, as it would in a process of its own."""
        if self.device == "cpu":
            return
        try:
            from spconv import algo, algocore
            from spconv.pytorch import ops

            ops.CONV_CPP = algo.ConvTunerSimple(
                [algocore.get_conv_algo_desp_from_param(p) for p in algo.ALL_IMPGEMM_PARAMS]
            )
        except Exception as error:
            self.emit(note=f"tuned kernels are kept: {reason(error)}")

    def time_layer(self, layer, algorithm, where):
        import spconv.pytorch as peer

        data = np.load(layer["sites"])
        host, shape = torch.from_numpy(data["indices"]), data["spatial_shape"].tolist()
        batch_size, indices = int(data["batch_size"]), host.to(self.device)
        volume = KERNEL_SIZE ** len(shape)
        arrays = layer_arrays(len(host), volume, layer["cin"], layer["cout"], layer["dtype"])
        x, w, dy = (torch.from_numpy(array).to(self.device) for array in arrays)
        conv = peer.SubMConv3d(
            layer["cin"],
            layer["cout"],
            KERNEL_SIZE,
            bias=False,
            indice_key="k",
            algo=getattr(peer.ConvAlgo, algorithm),
        ).to(self.device, self.dtype)
        with torch.no_grad():
            last = w.reshape(*[KERNEL_SIZE] * len(shape), *w.shape[1:])
            conv.weight.copy_(last.movedim(-1, 0))

        def tensor(features):
            """From sites on the host, as a batch brings them."""
            return peer.SparseConvTensor(features, host.to(self.device), shape, batch_size)

        def forward():
            with torch.no_grad():
                return conv(cached)

        def cold():
            with torch.no_grad():
                return conv(tensor(x))

        def train(t):
            conv.zero_grad(set_to_none=True)
            conv(t).features.backward(dy)

        def training():
            t = peer.SparseConvTensor(leaf(x), indices, shape, batch_size)
            t.indice_dict = cached.indice_dict
            train(t)

        calls = {
            "rulebook": rulebook_call(indices, batch_size, shape, algorithm),
            "forward": forward,
            "cold": cold,
            "training": training,
            "cold training": lambda: train(tensor(leaf(x))),
        }
        cached = None
        for operation in OPERATIONS:
            try:
                if operation in ("forward", "training"):
                    # Inference and training each want a rulebook of their own.
                    conv.train(operation == "training")
                    cached = tensor(x)
                    cached.indice_dict = conv(cached).indice_dict
                if operation == "forward":
                    self.save_rows(layer, forward(), where)
                self.time(calls[operation], {**where, "operation": operation})
            except Exception as error:
                self.failed(error, {**where, "operation": operation})

    def save_rows(self, layer, y, where):
        path = Path(layer["rows"])
        np.save(path, y.features[:ROWS_TO_COMPARE].float().cpu().numpy())
        self.emit(**where, rows=str(path))

    def time_network(self, algorithm, where):
        import spconv.pytorch as peer

        half, device = self.kind == "float16", self.device
        data = np.load(self.job["network"])
        description = json.loads(str(data["description"]))
        model = build(description["layers"], data, algorithm).to(device).train()
        optimizer = torch.optim.SGD(
            model.parameters(), description["lr"], momentum=description["momentum"]
        )
        scaler = torch.amp.GradScaler(device, enabled=half)
        shape, batch_size = description["spatial_shape"], description["batch_size"]
        batch = [torch.from_numpy(data[name]) for name in ("features", "indices", "labels")]

        def step():
            features, indices, labels = (part.to(device) for part in batch)
            x = peer.SparseConvTensor(features, indices, shape, batch_size)
            with torch.autocast(device, torch.float16, enabled=half):
                loss = torch.nn.functional.cross_entropy(model(x), labels)
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            return loss

        self.emit(**where, loss=step().item())
        self.time(step, where)

    def time(self, call, where):
        if not self.late(where):
            self.emit(**where, ms=milliseconds(call, self.synchronize))

    def late(self, where):
        if over := time.monotonic() > self.ends:
            self.emit(**where, error="left out: no time left")
        return over


def rulebook_call(indices, batch_size, shape, algorithm):
    """Building the rulebook of inference, the cheaper of the other spconv's two."""
    from spconv.core import ConvAlgo
    from spconv.pytorch import ops

    n = len(shape)
    window = [KERNEL_SIZE] * n, [1] * n, [KERNEL_SIZE // 2] * n, [1] * n, [0] * n
    algo = getattr(ConvAlgo, algorithm)
    arguments = indices, batch_size, shape, algo, *window
    if algorithm == "Native":
        return lambda: ops.get_indice_pairs(*arguments, True, False)
    return lambda: ops.get_indice_pairs_implicit_gemm(
        *arguments, subm=True, transpose=False, is_train=False
    )


def main() -> None:
    worker = Worker(json.loads(Path(sys.argv[1]).read_text()))
    worker.prepare()
    worker.run()
    worker.emit(done=True)


if __name__ == "__main__":
    main()
