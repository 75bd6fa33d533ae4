"""Warm: does once what training and serving do, so that the bytecode of the modules they import lies in the image.

Bytecode of everything that is installed would be 160 MB, most of it never run. Run while the image is built, with
PYTHONDONTWRITEBYTECODE empty. A container test fails when a real job still finds modules without bytecode.
"""

import warnings

import albumentations
import cv2  # noqa: F401
import flask  # noqa: F401
import gunicorn.app.base
import gunicorn.arbiter
import gunicorn.workers.gthread  # noqa: F401
import huggingface_hub  # noqa: F401
import matplotlib.figure
import numpy as np
import pandas as pd
import pydantic.dataclasses  # noqa: F401
import safetensors.torch
import scipy.stats  # noqa: F401
import sklearn.metrics
import sklearn.model_selection  # noqa: F401
import timm
import torch
import torchvision  # noqa: F401
import tqdm  # noqa: F401
from PIL import Image

Image.init()  # every format's plugin
pd.DataFrame({"a": [1]}).to_csv()
albumentations.Compose([albumentations.HorizontalFlip()])(image=np.zeros((8, 8, 3), np.uint8))
matplotlib.figure.Figure().savefig("/dev/null", format="png")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    network = timm.create_model("test_resnet", pretrained=False)
optimizer = torch.optim.Adam(network.parameters(), fused=True)
scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
network(torch.zeros(2, 3, 64, 64)).mean().backward()
optimizer.step()
scheduler.step(0.0)
safetensors.torch.save(network.state_dict())
