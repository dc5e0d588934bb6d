"""Foundation models that several stages run, and how their weights are fetched and read."""
