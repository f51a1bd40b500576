"""How a person sees results: figures, terminal tables and the report. The only place that imports matplotlib."""
