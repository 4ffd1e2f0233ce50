"""All that crosses between parties."""
