"""What is published in docs and README, and the canaries that tell when it is stale."""
