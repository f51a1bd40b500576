"""Control loops of the control plane: what each decides, as functions of the objects it sees."""
