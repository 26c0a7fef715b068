"""Raw CSV files -> a typed Parquet snapshot under a prefix that its content determines."""
