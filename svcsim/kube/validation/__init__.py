"""What the API server refuses: rules over manifests as they are written, each broken one with the field it concerns."""
