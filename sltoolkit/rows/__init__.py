"""What a row of results.csv is."""
