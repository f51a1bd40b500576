"""The steps of packets with a tap on them: each step is the model's own, and shows what it sends to the tap.

Used instead of the plain steps in a run that captures packets; a run that doesn't has none of this. What a step decides and when
is never changed here.
"""
