"""Runs: what begins and ends: training, tuning, processing, evaluation, batches; and the models that they leave."""
