"""Writes statistics.json beside this file: what numpy and scipy make of samples.

    pip install numpy scipy && python3 make_statistics.py
"""

import json
from pathlib import Path

import numpy
from scipy import stats

PERCENTS = [0, 1, 5, 25, 50, 75, 90, 95, 99, 99.9, 100]


def groups():
    random = numpy.random.default_rng(7)
    yield [5.0]
    yield [1.0, 2.0]
    yield [3.0] * 4
    yield [9.0, 1.0, 5.0]
    yield (1e9 + numpy.round(random.normal(0.0, 1.0, 10) * 64) / 64).tolist()
    yield random.normal(20.0, 2.0, 10).tolist()
    yield random.normal(21.0, 0.5, 7).tolist()
    yield random.lognormal(3.0, 1.0, 128).tolist()
    yield random.integers(1, 10**9, 1001).astype(float).tolist()


def summary(samples):
    entry = {
        "samples": samples,
        "mean": float(numpy.mean(samples)),
        "percentiles": [float(value) for value in numpy.percentile(samples, PERCENTS)],
    }
    if len(samples) > 1:
        entry["standard_deviation"] = float(numpy.std(samples, ddof=1))
        error = stats.sem(samples)
        if error > 0:
            low, high = stats.t.interval(0.95, len(samples) - 1, numpy.mean(samples), error)
            entry["interval"] = [float(low), float(high)]
    return entry


def welch(first, second):
    test = stats.ttest_ind(second, first, equal_var=False)
    low, high = test.confidence_interval(0.95)
    return {
        "first": first,
        "second": second,
        "difference": float(numpy.mean(second) - numpy.mean(first)),
        "interval": [float(low), float(high)],
        "p_value": float(test.pvalue),
    }


def main():
    samples = list(groups())
    freedoms = [0.7, 1, 1.5, 2, 3, 4.2, 9, 12.6, 30, 127, 1000, 1e6]
    probabilities = [0.5, 0.6, 0.75, 0.9, 0.975, 0.995, 0.9999, 0.025]
    tables = {
        "percents": PERCENTS,
        "summaries": [summary(group) for group in samples],
        "student_t": [
            [freedom, probability, float(stats.t.ppf(probability, freedom))]
            for freedom in freedoms
            for probability in probabilities
        ],
        "welch": [
            welch(samples[a], samples[b]) for a, b in [(5, 6), (6, 5), (1, 3), (5, 7), (7, 8), (5, 5)]
        ],
    }
    text = json.dumps(tables, separators=(",", ":"))
    (Path(__file__).parent / "statistics.json").write_text(text + "\n")


main()
