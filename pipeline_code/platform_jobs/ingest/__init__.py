"""Raw files, CSV or Parquet -> a typed Parquet snapshot under a prefix that its content determines."""
