"""Speed and memory: data with the statistics of the published splits, the whole service, the peer and the bare minimum.

    python -m tests.bench.table                # the table of goals, ours beside datumaro in turn
    python -m tests.bench.run OUT.zip          # the service alone: wall, CPU, peak memory, throughput of each step

README.md tells the other commands, the goals, and where the time goes. An absolute time says nothing on a shared
machine: quote ratios of interleaved runs, and CPU beside wall.
"""
