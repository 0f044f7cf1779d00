"""How good is it, and is that more than chance? Measures, intervals, calibration, baselines, the loss landscape.

It judges what a model answers; it trains nothing but the linear probe that a network must beat.
"""
