"""The way to the API server: raw JSON over the official client's connection, informers, and projections."""
