"""docs/questions.md: the questions that users ask most, each answered from a run of its scenario under scenarios/questions/.

`python -m tests.docs.questions` runs them all, and writes the page and its figures.
"""
