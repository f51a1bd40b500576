"""The documentation says what there is: pages are compared with the program."""
