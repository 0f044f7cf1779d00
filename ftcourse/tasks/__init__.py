"""What `finetune` learns: a task says what a batch is, what the loss is, and what the best weights are kept by.

The loop is one for all tasks. Classification is the default; the others are given:

    ft.finetune(model, data, stages)                             # logits (N, classes), labels int64 (N,)
    ft.finetune(model, data, stages, task=Segmentation(...))     # logits (N, classes, H, W), masks (N, H, W)
    ft.finetune(model, data, stages, task=Detection(...))        # lists of images, lists of boxes

`ft.evaluate`, `ft.predict`, `ft.train_one_epoch` and `ft.preflight` take the same `task`. A task of your own is a
subclass of `Task` with what differs. Here is one for text:

    class TextClassification(Task):
        name, score, columns = "text classification", "accuracy", ("loss", "accuracy")

        def forward(self, model, inputs, targets=None):     # inputs: a dict of int64 (N, length)
            return model(**inputs).logits.float()           # these are the outputs below

        def loss(self, outputs, targets):                   # mean over the samples of a batch, 0-dimensional
            return F.cross_entropy(outputs, targets)

        def hits(self, outputs, targets):                   # how many samples of a batch are right, 0-dimensional
            return (outputs.argmax(1) == targets).sum()

        def metrics(self, batches):                         # batches: pairs (outputs, targets) on the CPU
            outputs, targets = joined(batches)
            return {"loss": ..., "accuracy": ..., "samples": len(targets)}

- An item of a data set is a pair (input, target), and so is a batch: tensors, or dicts and lists of them.
  `collate` makes a batch of a list of items (None: PyTorch's own). `batches` moves it to the device, and is the
  place to take apart a batch that comes as one dict with its labels inside. `len(targets)` is the number of
  samples.
- `forward` is the one place where inputs go through the model. In training it is given the targets as well, for
  models that return their own losses.
- `metrics` gives fractions by name, and `samples`. `score` names the one to keep by (higher is better). `columns`
  names those that go into the history: as `train_...` what `train_one_epoch` returns (loss and accuracy), as
  `val_...` what `metrics` returns.
- `predictions` is what `ft.predict` keeps of the outputs: tensors are joined along the samples, lists strung
  together.
- Layer groups: `ft.layer_groups` finds them, each parameter in one of them, also inside a segmentation or
  detection model; where it cannot, or finds other ones than you want, the model says them itself:
  `model.ftcourse_groups = {"embeddings": ["bert.embeddings"], ..., "head": ["classifier"]}`, names of submodules
  or parameters from the input to the head, which together hold each parameter once. `freeze_report` compares with
  `model.ftcourse_origin`, an `Origin` of `ftcourse.models.backbones` with the state the model was loaded with (or
  a function that reads it); what is not in it is "new".
"""

from ftcourse.tasks.task import Classification, Task, joined, to_device

__all__ = ["Classification", "Task", "joined", "to_device"]
