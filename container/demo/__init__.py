"""The recipe of the demo's two models: data, training, evaluation. Nothing that serves imports it."""
