"""Speed and memory: data with the statistics of the published splits, the whole service, and the peer beside it.

    python -m tests.bench.make_data --images 41620 --boxes 303980 --tags 595339 --masks 5000 --seed 1 OUT.zip
    python -m tests.bench.run OUT.zip          # the service: wall, CPU, peak memory, throughput of each step
    python -m tests.bench.peer OUT.zip         # the same beside datumaro, in turn, with ratios

An absolute time says nothing on a shared machine: quote ratios of interleaved runs, and CPU beside wall.
"""
