"""The findings in words: headlines of the report and titles of the plots."""

from __future__ import annotations

from harness.results import Results

from reporting.findings import timings, training

FINDINGS = {
    "pictures": (training.pictures_finding,),
    "pretrained": (training.pretrained_finding,),
    "networks": (timings.networks_finding,),
    "mnist": (timings.mnist_finding,),
    "mnist-dropout": (training.dropout_finding, training.dropout_time_finding),
    "mnist-slow-pooling": (training.pooling_finding,),
    "assamese-vgg": (training.comparison_finding,),
    "assamese-features": (training.comparison_finding,),
    "pendigits": (training.comparison_finding,),
    "layers": (
        timings.grid_finding,
        timings.density_finding,
        timings.channels_finding,
        timings.kinds_finding,
    ),
    "rulebooks": (timings.rulebooks_finding,),
}


def headlines(results: Results) -> list[str]:
    """The main numbers, a sentence each, of the sections that there are."""
    lines = [
        finding(results[section].records)
        for section, findings in FINDINGS.items()
        if section in results
        for finding in findings
    ]
    return [line if line.endswith("?") else f"{line}." for line in lines]
