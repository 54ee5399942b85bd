"""What is watched while calls go by: online evaluation, drift, canaries, objectives, alerts and their causes, energy."""
