"""The ingest job as the local run starts it; ends after its JVM, so that what that took is known."""

from pyspark import SparkContext

from pipeline_code.platform_jobs.ingest.__main__ import main

if __name__ == "__main__":
    main()
    SparkContext.getOrCreate().stop()
    gateway = SparkContext._gateway
    assert gateway is not None
    gateway.shutdown()
    gateway.proc.stdin.close()
    gateway.proc.wait()
