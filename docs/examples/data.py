import bayescale

card = bayescale.load_card("repetition")
published = bayescale.point(card, card.published_values("muennighoff_2023"))
print(bayescale.allocate(published, 1e22, max_tokens=25e9))

fit = bayescale.open_posterior("fit.nc")
bayescale.plot_pruning(bayescale.prune(fit, params=7e9, tokens=140e9))
