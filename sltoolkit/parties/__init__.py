"""The parties that compute, and how they are trained."""
