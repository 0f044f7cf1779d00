"""From what people bring to a data set of train, val and test splits. Knows nothing of models.

`folders` reads the layout of a folder, `sources` what else people bring (`tables`, `file_names`, `data_sets`),
`inspection` opens each file once, `audit` says what is wrong, `drawing` draws the splits, `splits` are what is
trained on, and `loading` has `load_data`, which is all of that in one call. `photos` decodes, `transforms` make a
network's input, `downloads` brings sets of real photos. `insects` draws photos, `texts` has texts.
"""
