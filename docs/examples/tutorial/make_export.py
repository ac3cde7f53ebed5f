"""Write public runs up to 1e21 FLOP as Weights & Biases exports a table; the last crashed."""

from bayescale.datasets import load

runs = load("chinchilla").take(lambda frame: frame["flops"] <= 1e21, "too large").to_frame()
table = runs.rename(columns={"params": "n_params", "loss": "eval/loss"})
table = table.assign(
    Name=[f"sweep-{i:03d}" for i in range(len(table))],
    State="finished",
    tokens_seen=table["tokens"].round(),
    n_params=table["n_params"].round(),
)
table.loc[table.index[-1], "State"] = "crashed"
columns = ["Name", "State", "n_params", "tokens_seen", "eval/loss"]
table[columns].to_csv("wandb_export.csv", index=False)
