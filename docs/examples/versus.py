import bayescale

recipes = bayescale.fit_recipes(bayescale.read_runs("recipes.csv", columns={"family": "recipe"}))
bayescale.versus(recipes, flops="1e21").plot()
