"""How logits become decisions, fitted and shown on validation rows: temperature, thresholds, promises, abstaining."""
