"""Compile bytecode: imports once what training and serving import, so that its bytecode lies in the image.

Bytecode of everything that is installed would be 160 MB, most of it never run. Run while the image is built, with
PYTHONDONTWRITEBYTECODE empty. A container test fails when a real job still finds modules without bytecode.
"""

import warnings

import albumentations
import captum.attr  # noqa: F401
import cleanlab.filter
import cv2  # noqa: F401
import flask  # noqa: F401
import gunicorn.app.base
import gunicorn.arbiter
import gunicorn.workers.gthread  # noqa: F401
import h5py  # noqa: F401
import huggingface_hub  # noqa: F401
import imagecodecs
import jinja2
import matplotlib.figure
import numpy as np
import openslide  # noqa: F401
import openvino.frontend.pytorch.ts_decoder
import openvino.opset13  # noqa: F401
import pandas as pd
import prometheus_client  # noqa: F401
import pydantic.dataclasses  # noqa: F401
import pydicom.encaps  # noqa: F401
import safetensors.numpy
import safetensors.torch
import scipy.cluster.vq
import scipy.sparse.csgraph
import scipy.stats  # noqa: F401
import sklearn.ensemble
import sklearn.isotonic
import sklearn.linear_model
import sklearn.metrics
import sklearn.model_selection
import sklearn.pipeline
import sklearn.preprocessing
import tensorboardX.event_file_writer
import tensorboardX.summary
import timm.optim
import timm.utils
import torch
import torch.distributed
import torchvision  # noqa: F401
import tqdm  # noqa: F401
from PIL import Image, ImageCms

Image.init()  # every format's plugin
for name in ("jpeg8", "jpegls", "jpeg2k", "jpegxl"):
    getattr(imagecodecs, f"{name}_version")()  # which imports it
ImageCms.createProfile("sRGB")
frame = pd.DataFrame({"a": [1]})
frame.to_csv(), frame.to_dict(), frame.to_json(), frame.to_string()
jinja2.Environment(autoescape=True).from_string("{{ a }}").render(a=1)
sklearn.pipeline.make_pipeline(sklearn.preprocessing.StandardScaler(), sklearn.linear_model.LogisticRegression()).fit(
    [[0.0], [1.0]], [0, 1]
)
cleanlab.filter.find_label_issues(np.array([0, 1, 0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]] * 2))
albumentations.Compose([albumentations.HorizontalFlip()])(image=np.zeros((8, 8, 3), np.uint8))
matplotlib.figure.Figure().savefig("/dev/null", format="png")
tensorboardX.summary.pr_curve("a", np.ones(1, bool), np.ones(1)).SerializeToString()
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    network = timm.create_model("test_resnet", pretrained=False)
optimizer = torch.optim.Adam(network.parameters(), fused=True)
scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
network(torch.zeros(2, 3, 64, 64)).mean().backward()
optimizer.step()
scheduler.step(0.0)
safetensors.torch.save(network.state_dict())
safetensors.numpy.save({"a": np.zeros(1)})
