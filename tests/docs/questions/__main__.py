"""Writes docs/questions.md and its figures; with numbers, only those entries: `python -m tests.docs.questions 3 7`."""

import sys

from tests.docs.questions.page import write

if __name__ == "__main__":
    write([int(each) for each in sys.argv[1:]])
