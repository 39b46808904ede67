"""What ``booster_params`` may hold: one gate for each library, made of the library's own tables of names."""
