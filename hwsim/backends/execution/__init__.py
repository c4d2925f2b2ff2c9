"""Bit-accurate execution of a workload graph: the integers that the hardware would hold, op by op.

Shared by the backends: an arch contributes its `Arithmetic`, everything else follows from the graph.
"""
