"""From a finished run to a model that others use: load it, predict, export to other formats, make it smaller."""
