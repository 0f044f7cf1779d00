"""What a run tells people: the report of a training, its page, and the model card.

`report.train_and_report` is `ftcourse train`: the whole way from a folder to a report.
"""
