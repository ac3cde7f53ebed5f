import matplotlib.pyplot as plt
import numpy as np

import bayescale

fit = bayescale.open_posterior("fit.nc")
question = {"flops": np.geomspace(1e19, 1e24, 40), "answer_tokens": (1, 5)}
alike = bayescale.emergence(fit, **question)
differing = bayescale.emergence(fit, **question, dispersion=4.3, decoding="greedy")
for scores in (alike, differing):
    end = scores.to_frame().query("flops == flops.max() and metric == 'exact_match_5'")
    print(end[["metric", "median", "lower", "upper"]].to_string(index=False))

figure, axes = plt.subplots(1, 2, layout="constrained")
titles = ("tokens alike", "answers differ, greedy")
for ax, scores, title in zip(axes, (alike, differing), titles, strict=True):
    bayescale.plot_emergence(scores, ax).set_title(title)
