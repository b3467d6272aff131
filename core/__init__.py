"""The mathematics: torch in, torch out. Knows nothing of Ray, files of rows, or jobs."""
