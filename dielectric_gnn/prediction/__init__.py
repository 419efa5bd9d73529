"""From structures to spectra: loading models, ensembles, and the files of a screening."""
