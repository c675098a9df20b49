"""Upper bounds of the histograms: alike for what is compared."""

SECONDS = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
LOAD_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
INPUTS = tuple(float(2**n) for n in range(12))  # 1 to 2,048
TOKENS = tuple(float(2**n) for n in range(4, 17))  # 16 to 65,536
