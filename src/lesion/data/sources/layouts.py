"""Layouts: what each format looks like, in words, by the name that the hyperparameter `source` gives. Opens without
pandas, for `lesion describe`.
"""

from __future__ import annotations

from lesion.errors import UserError
from lesion.words import nearest

LAYOUTS = {
    "csv_folder": "train.csv (validation.csv, test.csv), or one other table (metadata.jsonl), beside images or their "
    "folder",
    "class_folder": "one folder per class, in the channel or in its train/, validation/ and test/",
    "pcam_hdf5": "*_x.h5 with *_y.h5 and *_meta.csv",
    "isic_hdf5": "train-image.hdf5 with an encoded image in each dataset, and train-metadata.csv",
    "medmnist_npz": "*.npz with the arrays train_images and train_labels (val_images, test_images …), as MedMNIST has "
    "them",
    "lst": "train.lst, in the channel or in channel train_lst, beside the images",
    "augmented_manifest": "train.manifest with source-ref and a label in each line, beside the images",
    "webdataset": "train-*.tar with KEY.jpg and KEY.json or KEY.cls, or with CLASS/KEY.jpg",
}


def check_source(source: str) -> None:
    """Raises UserError for what is neither `auto` nor the name of a format."""
    if source not in ("auto", *LAYOUTS):
        near = nearest(source, LAYOUTS)
        do = f"Did you mean {near}?" if near else "Choose one of them."
        raise UserError(f"no format is called '{source[:80]}'; there are {', '.join(LAYOUTS)}", do=do)
